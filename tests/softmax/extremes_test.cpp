// Scores, biases, sinks and positions of any size, numbers of every bit pattern, and code of the user's that fails.
#include <attenta/attenta.hpp>
#include <attenta/engine/score/observers.hpp>
#include <attenta/softmax/weights.hpp>

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "support/isas.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using attenta::Context;

constexpr float lowest = std::numeric_limits<float>::lowest(), lowest_bf16 = -0x1.fep127f,
                infinity = std::numeric_limits<float>::infinity();

/// Few rows of every kind, parts that merge, tiles.
std::vector<Shape> regimes() {
    return {{2, 1, 1, 456, 16, 16},  {4, 4, 1, 300, 33, 20},  {8, 2, 3, 456, 16, 8}, {4, 1, 8, 700, 24, 24},
            {2, 2, 1, 6000, 16, 16}, {2, 1, 70, 456, 16, 16}, {2, 1, 70, 6001, 8, 8}};
}

/// Scores are floats: what is lost where they are added is lost in the definition, too.
void round_scores(Case& c) {
    c.extras.edited = [](double s, const Pair&) { return double{static_cast<float>(s)}; };
}

void expect_definition(const Case& c, Tolerance tolerance = {1e-6, 2e-6}) {
    const Naive want = naive(c);
    on_every_isa([&](Context& context) { EXPECT_TRUE(close(attend(c, context), want, tolerance)) << describe(c); });
}

/// A bias that is 0 on all keys but the first `hidden`.
void hide(Case& c, std::int64_t hidden, float by) {
    c.bias.assign(static_cast<std::size_t>(c.shape.Tq * c.shape.Tk), 0.f);
    for (std::int64_t t = 0; t < c.shape.Tq; ++t) std::fill_n(c.bias.begin() + t * c.shape.Tk, hidden, by);
    c.options.bias = {c.bias.data(), 1, c.shape.Tq, c.shape.Tk};
    c.words += ", " + std::to_string(hidden) + " keys hidden by " + std::to_string(by);
    round_scores(c);
}

TEST(SoftmaxExtremes, FinitePaddingHidesAndNothingElse) {
    for (const Shape& shape : regimes())
        for (const float low : {lowest, lowest_bf16, -1e38f, -1e30f, -1e9f}) {
            Case c(shape);
            hide(c, 256, low);
            expect_definition(c, {2e-6, 2e-5});
        }
}

TEST(SoftmaxExtremes, RowsHiddenThroughoutByAFiniteNumberAverage) {
    for (const Shape& shape : regimes())
        for (const float low : {lowest, lowest_bf16, -1e38f, -1e30f, -1e12f, -1e10f}) {
            Case c(shape);
            hide(c, shape.Tk, low);
            expect_definition(c);
        }
}

TEST(SoftmaxExtremes, LargeNegativeScoresLoseNothing) {
    for (const Shape& shape : regimes())
        for (const float low : {-1e4f, -1e6f, -1e8f, -1e12f, 1e4f, 1e8f}) {
            Case c(shape, 1, 0.f);  // queries of zeros: scores are the bias exactly
            hide(c, shape.Tk, low);
            for (std::int64_t j = 0; j < shape.Tk; j += 7)
                c.bias[static_cast<std::size_t>(j)] = std::nextafter(low, 2 * low);
            expect_definition(c);
        }
}

TEST(SoftmaxExtremes, ScoresMayBeAnyFloats) {
    for (const Shape& shape : regimes()) {
        Case c(shape);
        c.options.scale = 1.f;
        c.q.each_row([&](float* row, std::int64_t, std::int64_t) {
            std::fill_n(row, shape.D, 0.f);
            row[0] = 1e19f;
        });
        c.k.each_row([&](float* row, std::int64_t, std::int64_t t) {
            row[0] = t % 100 == 17 ? 3.3e19f : t % 2 ? -3.3e19f : 3e19f;
        });
        expect_definition(c);
        c.k.each_row([&](float* row, std::int64_t, std::int64_t) { row[0] = -3.3e19f; });
        expect_definition(c);
    }
}

TEST(SoftmaxExtremes, SinksMayBeAnyFloats) {
    for (const Shape& shape : regimes())
        for (const float sink : {3e38f, -3e38f, std::numeric_limits<float>::max(), lowest, 1e30f}) {
            Case c(shape);
            c.sink.assign(static_cast<std::size_t>(shape.Hq), sink);
            c.options.sink = c.sink;
            c.words = ", sink " + std::to_string(sink);
            expect_definition(c, {2e-6, 2e-5});
            c.options.visible = attenta::Global{0};
            c.extras.visible = [](const Pair&) { return false; };
            expect_definition(c);
        }
}

TEST(SoftmaxExtremes, ACapBeyondAllScoresChangesNothing) {
    for (const Shape& shape : regimes())
        for (const float cap : {std::numeric_limits<float>::max(), 1e38f, 1e30f, 1e10f}) {
            Case c(shape);
            c.options.softcap = cap;
            expect_definition(c, {2e-5, 2e-4});
            c.options.scale = 1.f;
            c.q.each_row([&](float* row, std::int64_t, std::int64_t) { std::fill_n(row, shape.D, 1e18f); });
            c.k.each_row([&](float* row, std::int64_t, std::int64_t t) {
                std::fill_n(row, shape.D, 0.f);
                row[0] = static_cast<float>(t) * 1e15f;
            });
            expect_definition(c, {2e-5, 2e-4});
        }
}

/// Scores 1000 or 1000000 and up to 3 more, exact as floats.
TEST(SoftmaxExtremes, WeightsOfLargeScoresAddUpToOne) {
    for (const Shape& shape : regimes())
        for (const float base : {1e3f, 1e6f, -1e6f}) {
            Case c(shape);
            c.options.scale = 1.f;
            c.q.each_row([&](float* row, std::int64_t, std::int64_t) {
                std::fill_n(row, shape.D, 0.f);
                row[0] = 1.f;
            });
            c.k.each_row([&](float* row, std::int64_t, std::int64_t t) { row[0] = base + static_cast<float>(t % 4); });
            expect_definition(c);
            on_every_isa([&](Context& context) {
                const auto kv = attenta::KvView::of(c.k.view(), c.v.view());
                const auto rows = static_cast<std::size_t>(shape.Hq * shape.Tq);
                std::vector<attenta::RowStatistics> statistics(rows);
                std::vector<float> weights(rows * static_cast<std::size_t>(shape.Tk));
                attenta::softmax_statistics(c.q.view(), kv, statistics.data(), c.options, context);
                attenta::softmax_weights(
                    c.q.view(), kv, statistics.data(),
                    {attenta::edit(attenta::edits::LastRows{weights.data(), shape.Tk, shape.Tq, shape.Tq})}, {},
                    c.options, context);
                for (std::size_t r = 0; r < rows; ++r) {
                    double sum = 0;
                    for (std::size_t j = 0; j < static_cast<std::size_t>(shape.Tk); ++j)
                        sum += double{weights[r * static_cast<std::size_t>(shape.Tk) + j]};
                    EXPECT_NEAR(sum, 1.0, 2e-6) << describe(c);
                }
            });
        }
}

TEST(SoftmaxExtremes, AlibiCountsDistancesWhereverAStreamStands) {
    for (const Shape& shape : regimes())
        for (const std::int32_t base : {0, (1 << 24) - 64, (1 << 24) + 1, 1000000001}) {
            Case c(shape);
            c.slopes = attenta::alibi_slopes(static_cast<int>(shape.Hq));
            c.options.alibi_slopes = c.slopes;
            c.options.q_offset = base + shape.Tk - shape.Tq;
            std::vector<std::int32_t> positions(static_cast<std::size_t>(shape.Tk));
            for (std::int64_t j = 0; j < shape.Tk; ++j)  // a ring with its first four tokens kept
                positions[static_cast<std::size_t>(j)] = static_cast<std::int32_t>(j < 4 ? j : base + j);
            c.extras.positions = positions.data();
            auto kv = attenta::KvView::of(c.k.view(), c.v.view());
            kv.positions = positions.data();
            kv.positions_stride = shape.Tk;
            const Naive want = naive(c);
            on_every_isa([&](Context& context) {
                EXPECT_TRUE(close(attend(c, kv, context), want)) << describe(c) << ", stream at " << base;
            });
        }
}

/// Every 16-bit pattern as a value, with weight 1, and as a key, whose score is the lse.
template <class T>
void expect_all_patterns_convert() {
    constexpr std::int64_t n = 1 << 16;
    std::vector<T> x(n);
    for (std::int64_t i = 0; i < n; ++i) x[static_cast<std::size_t>(i)].bits = static_cast<std::uint16_t>(i);
    const std::vector<float> ones(n, 1.f);
    const auto expected = [&](std::size_t i) {
        const float want = x[i];
        return std::fpclassify(want) == FP_SUBNORMAL ? 0.f : want;  // subnormal floats are zero to attenta
    };
    on_every_isa([&](Context& context) {
        for (const std::int64_t queries : {1, 9, 70}) {
            std::vector<float> o(static_cast<std::size_t>(queries * n));
            const std::vector<float> q(static_cast<std::size_t>(queries), 1.f);
            attenta::softmax_attention(attenta::hnd(q.data(), 1, queries, 1), attenta::hnd(ones.data(), 1, 1, 1),
                                       attenta::hnd<const T>(x.data(), 1, 1, n), attenta::hnd(o.data(), 1, queries, n),
                                       {}, nullptr, context);
            for (std::size_t i = 0; i < x.size(); ++i) {
                const float got = o[static_cast<std::size_t>(queries - 1) * n + i], want = expected(i);
                ASSERT_TRUE(got == want || (std::isnan(got) && std::isnan(want))) << "value " << i << ", " << queries;
            }
        }
        for (const std::int64_t queries : {1, 9, 70}) {
            std::vector<float> o(static_cast<std::size_t>(queries * n)), lse(o.size());
            const std::vector<float> q(o.size(), 1.f);
            attenta::softmax_attention(attenta::hnd(q.data(), n, queries, 1), attenta::hnd<const T>(x.data(), n, 1, 1),
                                       attenta::hnd(ones.data(), n, 1, 1), attenta::hnd(o.data(), n, queries, 1), {},
                                       lse.data(), context);
            for (std::size_t i = 0; i < x.size(); ++i) {
                const float got = lse[i * static_cast<std::size_t>(queries)], want = expected(i);
                if (std::isfinite(want)) {
                    ASSERT_EQ(got, want) << "key " << i << ", " << queries;
                }
            }
        }
    });
}

TEST(SoftmaxExtremes, EveryFloat16Converts) { expect_all_patterns_convert<attenta::float16>(); }
TEST(SoftmaxExtremes, EveryBfloat16Converts) { expect_all_patterns_convert<attenta::bfloat16>(); }

/// Values of 1 have an average of 1, over millions of keys of flat weights, too.
TEST(SoftmaxManyKeysLong, SumsStayExact) {
    constexpr std::int64_t keys = 8000000, dim = 4;
    Random random(3);
    std::vector<attenta::float16> k(keys * dim), v(keys * dim, attenta::float16(1.f));
    for (auto& x : k) x = attenta::float16(static_cast<float>(random.integer(-100, 99)) / 400.f);
    on_every_isa([&](Context& context) {
        for (const std::int64_t queries : {1, 9, 66}) {
            const std::vector<float> q(static_cast<std::size_t>(queries * dim), .5f);
            std::vector<float> o(q.size());
            attenta::softmax_attention(attenta::hnd(q.data(), 1, queries, dim),
                                       attenta::hnd<const attenta::float16>(k.data(), 1, keys, dim),
                                       attenta::hnd<const attenta::float16>(v.data(), 1, keys, dim),
                                       attenta::hnd(o.data(), 1, queries, dim), {}, nullptr, context);
            EXPECT_NEAR(o[0], 1.f, 2e-5f) << queries << " queries";
        }
    });
}

/// Whether a subnormal result survives on this thread.
bool keeps_subnormals() {
    volatile float tiny = std::numeric_limits<float>::min();
    return tiny * 0.5f != 0.f;
}

TEST(SoftmaxFailingEdit, ReachesTheCallerAndLeavesThreadsAsTheyWere) {
    const auto throws = attenta::edit([](attenta::ScoreTile& t) {
        if (t.row[0].head >= 2) throw std::runtime_error("an edit of the user's");
    });
    for (const Shape& shape :
         {Shape{4, 4, 1, 300, 16, 16}, Shape{8, 4, 3, 300, 16, 16}, Shape{4, 4, 70, 300, 16, 16}}) {
        const Case c(shape);
        Case failing(shape);
        failing.options.edits = {throws};
        on_every_isa([&](Context& context) {
            const Output before = attend(c, context);
            for (int again = 0; again < 3; ++again) {
                EXPECT_THROW(attend(failing, context), std::runtime_error);
                EXPECT_TRUE(keeps_subnormals());
                std::array<bool, 2> kept = {true, true};
                context.executor().parallel_for(
                    2, [&](std::int64_t task, int) { kept[static_cast<std::size_t>(task)] = keeps_subnormals(); });
                EXPECT_TRUE(kept[0] && kept[1]);
                EXPECT_TRUE(same_bits(attend(c, context), before));
            }
        });
    }
}

#if defined(__GLIBC__) && defined(__x86_64__)
class Traps {
public:
    Traps() : before_(fegetexcept()) { feenableexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW); }
    ~Traps() {
        feclearexcept(FE_ALL_EXCEPT);
        fedisableexcept(FE_ALL_EXCEPT);
        feenableexcept(before_);
    }
    Traps(const Traps&) = delete;
    Traps& operator=(const Traps&) = delete;

private:
    int before_;
};

/// Scratch is full of what a spoiled call has left there.
TEST(SoftmaxTraps, AreNotMetByValidInput) {
    for (const Shape& shape : {Shape{2, 1, 1, 301, 16, 16}, Shape{4, 2, 3, 77, 20, 9}, Shape{4, 1, 8, 301, 17, 16},
                               Shape{2, 1, 70, 301, 16, 16}}) {
        Case spoiled(shape), c(shape);
        spoiled.k.each_row([&](float* row, std::int64_t, std::int64_t) { std::fill_n(row, shape.D, infinity); });
        spoiled.v.each_row([&](float* row, std::int64_t, std::int64_t) { std::fill_n(row, shape.Dv, infinity); });
        set_bias(c, 1, 0.2);
        c.slopes = attenta::alibi_slopes(static_cast<int>(shape.Hq));
        c.options.alibi_slopes = c.slopes;
        c.options.softcap = 30.f;
        c.options.causal = true;
        spoiled.options.softcap = 30.f;
        for (const attenta::Isa isa : available_isas()) {
            const IsaScope scope(isa);
            Context context;
            attend(spoiled, context);
            const Traps traps;
            attend(c, context);
        }
    }
}
#endif

}  // namespace
}  // namespace attenta_test
