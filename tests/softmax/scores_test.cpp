// softmax_scores: the scores as they are after scaling, after the cap, and in the end.
#include <attenta/attenta.hpp>
#include <attenta/softmax/weights.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using attenta::Context;
using attenta::KvView;
using attenta::ScoreStage;

constexpr float infinity = std::numeric_limits<float>::infinity();

std::vector<float> scores(const Case& c, const KvView& kv, ScoreStage stage, Context& context) {
    std::vector<float> s(static_cast<std::size_t>(c.shape.Hq * c.shape.Tq * c.shape.Tk), untouched<float>());
    attenta::softmax_scores(c.q.view(), kv, s.data(), stage, c.options, context);
    return s;
}

double naive_score_at(const Case& c, const Pair& p, ScoreStage stage) {
    attenta::SoftmaxOptions options;
    options.scale = c.options.scale;
    if (stage != ScoreStage::scaled) options.softcap = c.options.softcap;
    if (stage != ScoreStage::masked)
        return naive_score(p, c.q.row(p.head, p.query), c.k.row(p.head / (c.shape.Hq / c.shape.Hkv), p.key), c.shape.D,
                           options, {});
    if (!naive_visible(p, c.options, c.extras)) return -std::numeric_limits<double>::infinity();
    return naive_score(p, c.q.row(p.head, p.query), c.k.row(p.head / (c.shape.Hq / c.shape.Hkv), p.key), c.shape.D,
                       c.options, c.extras);
}

void expect_scores(const Case& c) {
    const std::int64_t offset = c.options.q_offset.value_or(c.shape.Tk - c.shape.Tq);
    on_every_isa([&](Context& context) {
        for (const ScoreStage stage : {ScoreStage::scaled, ScoreStage::capped, ScoreStage::masked}) {
            const std::vector<float> got = scores(c, KvView::of(c.k.view(), c.v.view()), stage, context);
            const float* s = got.data();
            for (std::int64_t h = 0; h < c.shape.Hq; ++h)
                for (std::int64_t t = 0; t < c.shape.Tq; ++t)
                    for (std::int64_t j = 0; j < c.shape.Tk; ++j, ++s) {
                        const double want = naive_score_at(c, {h, t, j, t + offset, j}, stage);
                        ASSERT_TRUE(Tolerance{}.holds(double{*s}, want))
                            << describe(c) << ", stage " << static_cast<int>(stage) << ": " << *s << " for " << want
                            << " of head " << h << " query " << t << " key " << j;
                    }
        }
    });
}

TEST(SoftmaxScores, EqualTheDefinitionForEveryOption) {
    for (const Shape& shape : one_shape_of_each_regime())
        for (const OptionSetter& setter : option_setters()) {
            Case c(shape);
            apply(setter, c);
            expect_scores(c);
        }
}

TEST(SoftmaxScores, EqualTheDefinitionForRandomOptions) {
    for (std::uint64_t seed = 0; seed < 40; ++seed) expect_scores(random_case(seed, 0.15));
}

TEST(SoftmaxScores, AreOfKeysAtAnyPositions) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        Case c(shape);
        c.options.causal = true, c.options.window_left = 50, c.options.q_offset = shape.Tk - shape.Tq;
        const std::vector<std::int32_t> positions = Random(3).permutation(shape.Tk);
        KvView kv = KvView::of(c.k.view(), c.v.view());
        kv.positions = positions.data();
        kv.positions_stride = shape.Tk;
        on_every_isa([&](Context& context) {
            const std::vector<float> got = scores(c, kv, ScoreStage::masked, context);
            const float* s = got.data();
            for (std::int64_t h = 0; h < shape.Hq; ++h)
                for (std::int64_t t = 0; t < shape.Tq; ++t)
                    for (std::int64_t j = 0; j < shape.Tk; ++j, ++s) {
                        const Pair p{h, t, j, t + shape.Tk - shape.Tq, positions[static_cast<std::size_t>(j)]};
                        ASSERT_TRUE(Tolerance{}.holds(double{*s}, naive_score_at(c, p, ScoreStage::masked))) << shape;
                    }
        });
    }
}

/// ... where a sum that starts with NaN would show it.
TEST(SoftmaxScores, HideWhateverTheHiddenKeyHolds) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        Case c(shape);
        c.options.visible = attenta::Global{shape.Tk - 1};
        for (std::int64_t h = 0; h < shape.Hkv; ++h) c.k.row(h, shape.Tk - 1)[0] = std::nanf("");
        on_every_isa([&](Context& context) {
            const std::vector<float> got = scores(c, KvView::of(c.k.view(), c.v.view()), ScoreStage::masked, context);
            for (std::int64_t r = 0; r < shape.Hq * shape.Tq; ++r)
                EXPECT_EQ(got.data()[(r + 1) * shape.Tk - 1], -infinity) << shape;
        });
    }
}

TEST(SoftmaxScores, RefuseBadInput) {
    const Case c({4, 2, 3, 9, 8, 8});
    const KvView kv = KvView::of(c.k.view(), c.v.view());
    std::vector<float> memory(4 * 3 * 9, 7);
    const auto call = [&](float* out, const attenta::SoftmaxOptions& options) {
        return [&, out, options] { attenta::softmax_scores(c.q.view(), kv, out, ScoreStage::masked, options); };
    };
    const std::span<const float> sink(memory.data() + 104, 4);
    EXPECT_TRUE(refuses(call(nullptr, {}), {"softmax_scores", "scores", "null"}));
    EXPECT_TRUE(refuses(call(c.k.row(0, 0) + 7, {}), {"softmax_scores", "scores", "k"}));
    EXPECT_TRUE(refuses(call(c.q.row(3, 2) + 7, {}), {"softmax_scores", "scores", "q"}));
    EXPECT_TRUE(refuses(call(memory.data(), {.sink = sink}), {"softmax_scores", "scores", "sink"}));
    EXPECT_TRUE(refuses(call(memory.data(), {.window_left = -2}), {"softmax_scores", "window_left"}));
    EXPECT_EQ(memory, std::vector<float>(4 * 3 * 9, 7));
}

}  // namespace
}  // namespace attenta_test
