// Batches of sequences of any lengths: each sequence gives what it gives alone.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "support/isas.hpp"
#include "support/paged.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using attenta::Context;
using attenta::KvView;

/// Sequences of one batch, their queries behind each other.
struct Batch {
    std::vector<Case> cases;
    std::vector<std::int32_t> q_lengths;
    Tensor<float> q;

    Batch(const std::vector<std::pair<std::int64_t, std::int64_t>>& lengths) {
        for (const auto& [queries, keys] : lengths) {
            cases.emplace_back(Shape{6, 2, queries, keys, 33, 24}, static_cast<std::uint64_t>(keys));
            q_lengths.push_back(static_cast<std::int32_t>(queries));
        }
        q = Tensor<float>(6, std::accumulate(q_lengths.begin(), q_lengths.end(), 0), 33, Order::token_head);
        std::int64_t at = 0;
        for (const Case& c : cases) {
            c.q.each_row([&](float* row, std::int64_t h, std::int64_t t) { std::copy_n(row, 33, q.row(h, at + t)); });
            at += c.shape.Tq;
        }
    }

    std::vector<Sequence> keys() const {
        std::vector<Sequence> s;
        for (const Case& c : cases) s.push_back({c.k.view(), c.v.view()});
        return s;
    }

    Output attend(const KvView& kv, const attenta::SoftmaxOptions& options, Context& context) const {
        Output out(6, q.view().tokens, 24, Order::token_head);
        attenta::softmax_attention(q.view(), q_lengths, kv, out.o.view(), options, out.lse.data(), context);
        return out;
    }
};

Batch mixed_batch() {
    return Batch({{1, 300}, {37, 61}, {1, 5000}, {5, 5}, {0, 20}, {70, 170}, {3, 0}, {1, 1}, {4, 2100}, {1, 300}});
}

/// Every sequence gives the bits that it gives alone.
template <class T>
void expect_like_alone(Batch& batch, const PagedPool<T>& pool, const attenta::SoftmaxOptions& options) {
    on_every_isa([&](Context& context) {
        const Output together = batch.attend(pool.view(), options, context);
        std::int64_t at = 0;
        for (Case& c : batch.cases) {
            c.options = options;
            const Tensor<T> k = converted<T>(c.k.view()), v = converted<T>(c.v.view());
            const Output alone = attend(c, KvView::of(k.view(), v.view()), context);
            alone.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
                EXPECT_TRUE(same_bits(row, together.o.row(h, at + t), 24))
                    << c.shape << ", head " << h << ", token " << t;
                EXPECT_EQ(alone.lse_at(h, t), together.lse_at(h, at + t)) << c.shape;
            });
            at += c.shape.Tq;
        }
    });
}

TEST(SoftmaxBatch, MatesDoNotMatterToTheBit) {
    Batch batch = mixed_batch();
    attenta::SoftmaxOptions options;
    options.causal = true, options.softcap = 20;
    expect_like_alone(batch, PagedPool<float>(batch.keys(), 16, PageLayout::token_head), options);
    expect_like_alone(batch, PagedPool<attenta::bfloat16>(batch.keys(), 16, PageLayout::token_head), options);
    expect_like_alone(batch, PagedPool<attenta::float16>(batch.keys(), 5, PageLayout::head_token), options);
}

TEST(SoftmaxBatch, MatesDoNotMatterForRandomLengthsAndOptions) {
    for (std::uint64_t seed = 0; seed < 40 && !testing::Test::HasFailure(); ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Random random(seed);
        std::vector<std::pair<std::int64_t, std::int64_t>> lengths;
        for (std::int64_t n = random.integer(1, 7); n > 0; --n)
            lengths.emplace_back(random.pick<std::int64_t>({0, 1, 1, 1, 2, 5, 17, 70}),
                                 random.pick<std::int64_t>({0, 1, 7, 33, 128, 150, 260, 1500}));
        Batch batch(lengths);
        const PageLayout layout =
            random.pick<PageLayout>({PageLayout::token_head, PageLayout::head_token, PageLayout::token_head_fused});
        const PagedPool<float> pool(batch.keys(), random.pick<std::int64_t>({1, 5, 16, 64}), layout);
        Case donor({6, 2, 20, 100, 1, 1}, seed);  // of options that fit every sequence
        for (const OptionSetter& setter : option_setters())
            if (random.chance(0.15)) setter.set(donor);
        donor.options.bias = {}, donor.options.mask = {}, donor.options.segment_q = {}, donor.options.segment_k = {};
        expect_like_alone(batch, pool, donor.options);
    }
}

/// One of the options that describe a sequence, or none.
void describe_sequence(Case& c, std::int64_t number) {
    const std::vector<std::vector<const char*>> names = {{"mask", "bias"},
                                                         {"segments"},
                                                         {"one row of mask, short", "bias of rows, short, f16"},
                                                         {"bias of heads, -inf"},
                                                         {"bias, one row of heads, bf16", "segments"},
                                                         {},
                                                         {"mask of heads, strides, short"}};
    for (const OptionSetter& setter : option_setters())
        for (const char* name : names[static_cast<std::size_t>(number) % names.size()])
            if (setter.name == std::string(name)) apply(setter, c);
}

/// Every sequence has a mask, a bias and segments of its own kind and type, some have none.
TEST(SoftmaxBatch, EverySequenceHasItsMaskBiasAndSegments) {
    for (std::int64_t rotation = 0; rotation < 7; ++rotation) {
        Batch batch = mixed_batch();
        const PagedPool<float> pool(batch.keys(), 16, PageLayout::token_head);
        attenta::SoftmaxOptions options;
        options.causal = true, options.prefix = 40;
        std::vector<attenta::Matrices<const bool>> masks;
        std::vector<attenta::FloatMatrices> biases;
        std::vector<attenta::Documents> segments;
        for (Case& c : batch.cases) {
            c.options = options;
            describe_sequence(c, rotation + static_cast<std::int64_t>(masks.size()));
            masks.push_back(c.options.mask);
            biases.push_back(c.options.bias);
            segments.push_back({c.options.segment_q, c.options.segment_k});
        }
        options.masks = masks, options.biases = biases, options.segments = segments;
        on_every_isa([&](Context& context) {
            const Output together = batch.attend(pool.view(), options, context);
            std::int64_t at = 0;
            for (Case& c : batch.cases) {
                const Naive want = naive(c);
                // Alone it is a batch of one: what there is to add decides how scores are rounded.
                attenta::SoftmaxOptions described = c.options;
                const attenta::FloatMatrices bias = std::exchange(described.bias, {});
                described.biases = {&bias, 1};
                std::swap(c.options, described);
                const Output alone = attend(c, context);
                std::swap(c.options, described);
                EXPECT_TRUE(close(alone, want)) << describe(c);
                alone.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
                    EXPECT_TRUE(same_bits(row, together.o.row(h, at + t), 24)) << describe(c) << h << " " << t;
                });
                at += c.shape.Tq;
            }
        });
    }
}

/// A sequence sees the keys whose position leaves its own number.
TEST(SoftmaxBatch, AMaskOfOnesOwnKnowsItsSequence) {
    struct Residue {
        void bits(const attenta::QueryRow& row, const attenta::KeyBlock& keys, std::uint64_t* words) const {
            for (std::int64_t i = 0; i < keys.count; ++i)
                if (keys.position(i) % 3 != row.sequence % 3) words[i / 64] &= ~(std::uint64_t{1} << (i % 64));
        }
    };
    Batch batch = mixed_batch();
    const PagedPool<float> pool(batch.keys(), 16, PageLayout::token_head);
    attenta::SoftmaxOptions options;
    options.visible = Residue{};
    on_every_isa([&](Context& context) {
        const Output together = batch.attend(pool.view(), options, context);
        std::int64_t at = 0, sequence = 0;
        for (Case& c : batch.cases) {
            c.extras.visible = [sequence](const Pair& p) { return p.j % 3 == sequence % 3; };
            const Naive want = naive(c);
            c.q.each_row([&](float*, std::int64_t h, std::int64_t t) {
                for (std::int64_t i = 0; i < 24; ++i)
                    ASSERT_TRUE(Tolerance{}.holds(double{together.o.row(h, at + t)[i]}, want.o_row(h, t)[i]))
                        << c.shape;
            });
            at += c.shape.Tq;
            ++sequence;
        }
    });
}

/// q, k, v, o as [batch, head, token, dim], keys of different lengths, masks of [batch, 1, 1, token].
TEST(SoftmaxBatch, OfEqualLengthsInATensorOfFourAxes) {
    constexpr std::int64_t batch = 3, Hq = 6, Hkv = 2, D = 20, Dv = 24, room = 2100;
    for (const std::int64_t queries : {1, 5, 9, 70}) {
        Random random(static_cast<std::uint64_t>(queries));
        std::vector<float> q = random.normals(batch * Hq * queries * D), k = random.normals(batch * Hkv * room * D),
                           v = random.normals(batch * Hkv * room * Dv);
        const std::vector<std::int32_t> table = {0, 1, 2}, lengths = {2100, 90, 700};
        KvView kv = KvView::paged(attenta::hnd(k.data(), Hkv, room, D), attenta::hnd(v.data(), Hkv, room, Dv),
                                  Hkv * room * D, batch, table.data(), 1, lengths.data(), batch);
        kv.v.page_stride = Hkv * room * Dv;
        const std::unique_ptr<bool[]> visible = std::make_unique<bool[]>(batch * room);
        for (std::int64_t i = 0; i < batch * room; ++i) visible[static_cast<std::size_t>(i)] = random.chance(0.7);
        attenta::SoftmaxOptions options;
        options.causal = true, options.scale = 0.3f;
        std::vector<attenta::Matrices<const bool>> masks;
        for (std::int64_t s = 0; s < batch; ++s)
            masks.push_back({visible.get() + s * room, 1, 1, lengths[static_cast<std::size_t>(s)]});
        options.masks = masks;
        const auto in = attenta::bhnd<const float>(q.data(), batch, Hq, queries, D);
        on_every_isa([&](Context& context) {
            std::vector<float> o(static_cast<std::size_t>(batch * Hq * queries * Dv)), again = o, lse(o.size() / Dv);
            const auto out = attenta::bhnd(o.data(), batch, Hq, queries, Dv);
            attenta::softmax_attention(in, kv, out, options, lse.data(), context);
            attenta::plan_softmax(in, kv, options, context)
                .run(in.first(), kv, attenta::hnd(again.data(), Hq, queries, Dv));
            EXPECT_EQ(o, again);
            for (std::int64_t s = 0; s < batch; ++s) {
                attenta::SoftmaxOptions alone = options;
                alone.masks = {};
                alone.mask = masks[static_cast<std::size_t>(s)];
                const std::int64_t keys = lengths[static_cast<std::size_t>(s)];
                const auto rows = [&](std::vector<float>& x, std::int64_t dim) {
                    return attenta::Heads<const float>{
                        x.data() + s * Hkv * room * dim, Hkv, keys, dim, room * dim, dim};
                };
                const Naive want =
                    naive_softmax(attenta::hnd<const float>(q.data() + s * Hq * queries * D, Hq, queries, D),
                                  rows(k, D), rows(v, Dv), alone);
                for (std::size_t i = 0; i < want.o.size(); ++i)
                    ASSERT_TRUE(Tolerance{}.holds(
                        double{o.data()[s * Hq * queries * Dv + static_cast<std::int64_t>(i)]}, want.o[i]))
                        << "sequence " << s << " of " << queries << " queries, element " << i;
                for (std::size_t i = 0; i < want.lse.size(); ++i)
                    ASSERT_TRUE(Tolerance{}.holds(double{lse.data()[s * Hq * queries + static_cast<std::int64_t>(i)]},
                                                  want.lse[i]))
                        << "sequence " << s << " of " << queries << " queries, element " << i;
            }
        });
    }
}

TEST(SoftmaxBatch, EqualsTheDefinition) {
    Batch batch = mixed_batch();
    const PagedPool<float> pool(batch.keys(), 5, PageLayout::head_token);
    attenta::SoftmaxOptions options;
    options.causal = true, options.window_left = 400, options.prefix = 3;
    const std::vector<float> slopes = attenta::alibi_slopes(6), sink = Random(8).normals(6);
    options.alibi_slopes = slopes, options.sink = sink;
    on_every_isa([&](Context& context) {
        const Output together = batch.attend(pool.view(), options, context);
        std::int64_t at = 0;
        for (Case& c : batch.cases) {
            c.options = options;
            const Naive want = naive(c);
            const Tolerance tolerance;
            c.q.each_row([&](float*, std::int64_t h, std::int64_t t) {
                for (std::int64_t i = 0; i < 24; ++i)
                    ASSERT_TRUE(tolerance.holds(double{together.o.row(h, at + t)[i]}, want.o_row(h, t)[i])) << c.shape;
                ASSERT_TRUE(tolerance.holds(double{together.lse_at(h, at + t)}, want.lse.data()[h * c.shape.Tq + t]))
                    << c.shape;
            });
            at += c.shape.Tq;
        }
    });
}

TEST(SoftmaxBatch, NanStaysInItsSequence) {
    Batch batch = mixed_batch();
    const PagedPool<float> clean(batch.keys(), 16, PageLayout::head_token);
    batch.cases[1].k.row(0, 5)[0] = std::nanf("");
    batch.cases[1].v.row(1, 7)[0] = std::nanf("");
    const PagedPool<float> spoiled(batch.keys(), 16, PageLayout::head_token);
    on_every_isa([&](Context& context) {
        const Output before = batch.attend(clean.view(), {}, context),
                     after = batch.attend(spoiled.view(), {}, context);
        after.o.each_row([&](float*, std::int64_t h, std::int64_t t) {
            const bool of_second = t >= 1 && t < 38;
            EXPECT_TRUE(of_second || same_row(before, after, h, t)) << "head " << h << ", token " << t;
        });
    });
}

}  // namespace
}  // namespace attenta_test
