// K and V are read where they lie: every layout of the same numbers gives the same result to the bit.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <tuple>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using attenta::Context;
using attenta::KvView;

template <class T>
class SoftmaxLayouts : public testing::Test {};
using ElementTypes = testing::Types<float, attenta::bfloat16, attenta::float16>;
TYPED_TEST_SUITE(SoftmaxLayouts, ElementTypes);

/// A case whose K and V are exact in T.
template <class T>
Case exact_case(const Shape& shape) {
    Case c(shape);
    c.k = converted<float>(converted<T>(c.k.view()).view());
    c.v = converted<float>(converted<T>(c.v.view()).view());
    c.options.causal = true;
    c.words = std::string(", ") + name(attenta::dtype_of<T>);
    return c;
}

TYPED_TEST(SoftmaxLayouts, EveryElementTypeEqualsTheDefinitionOnItsRoundedKeysAndValues) {
    for (const Shape& shape : awkward_shapes()) {
        const Case c = exact_case<TypeParam>(shape);
        const Tensor<TypeParam> k = converted<TypeParam>(c.k.view()), v = converted<TypeParam>(c.v.view());
        const Naive want = naive(c);
        on_every_isa([&](Context& context) {
            EXPECT_TRUE(close(attend(c, KvView::of(k.view(), v.view()), context), want)) << describe(c);
        });
    }
}

TYPED_TEST(SoftmaxLayouts, KeysAndValuesMayLieInAnyOrderWithAnyPadding) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        const Case c = exact_case<TypeParam>(shape);
        const Tensor<TypeParam> k = converted<TypeParam>(c.k.view()), v = converted<TypeParam>(c.v.view());
        on_every_isa([&](Context& context) {
            const Output want = attend(c, KvView::of(k.view(), v.view()), context);
            for (const auto& [order_k, order_v, pad] : {std::tuple{Order::token_head, Order::token_head, 0},
                                                        {Order::token_head, Order::head_token, 3},
                                                        {Order::head_token, Order::token_head, 16},
                                                        {Order::head_token, Order::head_token, 1}}) {
                const auto k2 = converted<TypeParam>(c.k.view(), order_k, pad),
                           v2 = converted<TypeParam>(c.v.view(), order_v, pad);
                EXPECT_TRUE(same_bits(attend(c, KvView::of(k2.view(), v2.view()), context), want))
                    << describe(c) << ", pad " << pad;
            }
        });
    }
}

/// More of them than a cache holds: rows are taken in another order.
TYPED_TEST(SoftmaxLayouts, KeysAndValuesFromMemoryMayLieInAnyOrder) {
    for (const std::int64_t queries : {1, 2, 7}) {
        const Case c = exact_case<TypeParam>({8, 4, queries, 38000, 44, 40});
        const Tensor<TypeParam> k = converted<TypeParam>(c.k.view()), v = converted<TypeParam>(c.v.view());
        const auto k2 = converted<TypeParam>(c.k.view(), Order::token_head, 0),
                   v2 = converted<TypeParam>(c.v.view(), Order::token_head, 0);
        const Naive naive_want = naive(c);
        on_every_isa([&](Context& context) {
            const Output want = attend(c, KvView::of(k.view(), v.view()), context);
            EXPECT_TRUE(close(want, naive_want)) << describe(c);
            EXPECT_TRUE(same_bits(attend(c, KvView::of(k2.view(), v2.view()), context), want)) << describe(c);
        });
    }
}

TYPED_TEST(SoftmaxLayouts, ForeignPagesAreReadInPlace) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        const Case c = exact_case<TypeParam>(shape);
        const Tensor<TypeParam> k = converted<TypeParam>(c.k.view()), v = converted<TypeParam>(c.v.view());
        on_every_isa([&](Context& context) {
            const Output want = attend(c, KvView::of(k.view(), v.view()), context);
            for (const PageLayout layout :
                 {PageLayout::token_head, PageLayout::head_token, PageLayout::token_head_fused})
                for (const std::int64_t page_size : {1, 5, 16, 64}) {
                    const PagedPool<TypeParam> pool({{c.k.view(), c.v.view()}}, page_size, layout);
                    EXPECT_TRUE(same_bits(attend(c, pool.view(), context), want))
                        << describe(c) << ", layout " << static_cast<int>(layout) << ", page size " << page_size;
                }
        });
    }
}

TEST(SoftmaxViews, KeysAndValuesMayDifferInType) {
    const Case c = exact_case<attenta::bfloat16>({4, 2, 20, 150, 32, 24});
    const auto k = converted<attenta::bfloat16>(c.k.view());
    const Naive want = naive(c);
    on_every_isa(
        [&](Context& context) { EXPECT_TRUE(close(attend(c, KvView::of(k.view(), c.v.view()), context), want)); });
}

TEST(SoftmaxViews, QueriesAndOutputsMayLieInAnyOrderWithAnyPadding) {
    for (const Shape& s : one_shape_of_each_regime()) {
        const Case c(s);
        on_every_isa([&](Context& context) {
            const Output want = attend(c, context);
            for (const auto& [order_q, order_o, pad] : {std::tuple{Order::token_head, Order::token_head, 0},
                                                        {Order::token_head, Order::head_token, 3},
                                                        {Order::head_token, Order::token_head, 16},
                                                        {Order::head_token, Order::head_token, 1}}) {
                const Tensor<float> q = converted<float>(c.q.view(), order_q, pad);
                Output out(s.Hq, s.Tq, s.Dv, order_o, pad);
                attenta::softmax_attention(q.view(), c.k.view(), c.v.view(), out.o.view(), c.options, out.lse.data(),
                                           context);
                EXPECT_TRUE(same_bits(out, want)) << s << ", pad " << pad;
                EXPECT_TRUE(out.o.padding_is_untouched()) << s << ", pad " << pad;
            }
        });
    }
}

/// Stride 0: all heads share the memory of one.
TEST(SoftmaxViews, InputsMayBeBroadcast) {
    const Case c({4, 1, 20, 100, 16, 24});
    attenta::Heads<const float> k = c.k.view(), v = c.v.view();
    k.heads = v.heads = 4;
    k.head_stride = v.head_stride = 0;
    const Naive want = naive(c);
    on_every_isa([&](Context& context) { EXPECT_TRUE(close(attend(c, KvView::of(k, v), context), want)); });
}

/// Several sequences behind each other in one tensor, found by their first tokens.
TEST(SoftmaxViews, StartsFindSequencesInContiguousMemory) {
    const Case a({4, 2, 1, 140, 16, 24}, 1), b({4, 2, 37, 61, 16, 24}, 2);
    Tensor<float> q(4, 38, 16), k(2, 300, 16), v(2, 300, 24);
    const auto put = [](const Tensor<float>& from, const Tensor<float>& to, std::int64_t at) {
        from.each_row(
            [&](float* row, std::int64_t h, std::int64_t t) { std::copy_n(row, from.view().dim, to.row(h, at + t)); });
    };
    const std::int32_t starts[] = {150, 20}, lengths[] = {140, 61}, q_lengths[] = {1, 37};
    put(a.q, q, 0), put(b.q, q, 1);
    put(a.k, k, starts[0]), put(a.v, v, starts[0]), put(b.k, k, starts[1]), put(b.v, v, starts[1]);
    KvView kv = KvView::of(k.view(), v.view());
    kv.sequences = 2, kv.lengths = lengths, kv.starts = starts;
    on_every_isa([&](Context& context) {
        Output out(4, 38, 24);
        attenta::softmax_attention(q.view(), q_lengths, kv, out.o.view(), {}, out.lse.data(), context);
        const Output alone_a = attend(a, context), alone_b = attend(b, context);
        out.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
            EXPECT_TRUE(same_bits(row, t < 1 ? alone_a.o.row(h, t) : alone_b.o.row(h, t - 1), 24));
            EXPECT_EQ(out.lse_at(h, t), t < 1 ? alone_a.lse_at(h, t) : alone_b.lse_at(h, t - 1));
        });
    });
}

/// Slots in any order, as after eviction: masks and biases by position follow the keys.
TEST(SoftmaxViews, PositionsTravelWithTheKeys) {
    for (const Shape& shape : one_shape_of_each_regime())
        for (const char* option :
             {"causal", "causal prefix 11", "window 5, 140", "q_offset inside", "alibi", "own mask"}) {
            Case c(shape);
            c.options.causal = true;
            for (const OptionSetter& setter : option_setters())
                if (std::string(option) == setter.name) apply(setter, c);
            const std::vector<std::int32_t> order = c.random.permutation(shape.Tk);
            const Tensor<float> k = reordered(c.k.view(), order), v = reordered(c.v.view(), order);
            KvView kv = KvView::of(k.view(), v.view());
            kv.positions = order.data();
            kv.positions_stride = shape.Tk;
            const Naive want = naive(c);
            on_every_isa([&](Context& context) {
                const Output permuted = attend(c, kv, context);
                EXPECT_TRUE(close(permuted, want)) << describe(c);
                EXPECT_LE(distance(permuted, attend(c, context)), 2e-5) << describe(c);
            });
        }
}

/// Positions with gaps: what is left of a longer sequence.
TEST(SoftmaxViews, PositionsMayHaveGaps) {
    Case c({4, 2, 9, 120, 16, 24});
    std::vector<std::int32_t> positions;
    for (std::int32_t i = 0; i < 120; ++i) positions.push_back(3 * i + (i % 2));
    c.extras.positions = positions.data();
    c.options.causal = true, c.options.q_offset = 330, c.options.window_left = 200;
    KvView kv = KvView::of(c.k.view(), c.v.view());
    kv.positions = positions.data();
    kv.positions_stride = 120;
    const Naive want = naive(c);
    on_every_isa([&](Context& context) { EXPECT_TRUE(close(attend(c, kv, context), want)); });
}

/// Positions far from the slots' numbers: the last query stands where the newest key does, as without positions.
TEST(SoftmaxViews, TheNewestPositionIsWhereTheLastQueryStands) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        Case c(shape);
        c.options.causal = true, c.options.window_left = 40;
        std::vector<std::int32_t> positions = c.random.permutation(shape.Tk);
        for (std::int32_t& p : positions) p = 3 * p + 1000;
        const auto newest = static_cast<std::int64_t>(*std::max_element(positions.begin(), positions.end()));
        KvView kv = KvView::of(c.k.view(), c.v.view());
        kv.positions = positions.data(), kv.positions_stride = shape.Tk;
        c.extras.positions = positions.data();
        Case said(shape);
        said.options = c.options;
        said.options.q_offset = newest + 1 - shape.Tq;
        on_every_isa([&](Context& context) {
            const Output got = attend(c, kv, context);
            EXPECT_TRUE(same_bits(got, attend(said, kv, context))) << describe(c);
            EXPECT_TRUE(close(got, naive_softmax(c.q.view(), c.k.view(), c.v.view(), said.options, c.extras)))
                << describe(c);
        });
    }
}

/// A ring that has wrapped gives what a full cache gives under the same mask.
TEST(SoftmaxViews, ARingEqualsAFullCacheUnderItsMask) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        const std::int64_t sink = 4, slots = shape.Tk / 2 + shape.Tq, window = slots - sink - shape.Tq + 1;
        Case c(shape);
        c.options.visible = attenta::Causal{} && (attenta::Window{window - 1, -1} || attenta::Global{sink});
        c.options.alibi_slopes = c.slopes = attenta::alibi_slopes(static_cast<int>(shape.Hq));
        Tensor<float> k(shape.Hkv, slots, shape.D, Order::token_head), v(shape.Hkv, slots, shape.Dv);
        for (std::int64_t t = 0; t < shape.Tk; ++t)
            for (std::int64_t h = 0; h < shape.Hkv; ++h) {
                const std::int64_t slot = KvView::ring_slot(t, slots, sink);
                std::copy_n(c.k.row(h, t), shape.D, k.row(h, slot));
                std::copy_n(c.v.row(h, t), shape.Dv, v.row(h, slot));
            }
        std::vector<std::int32_t> positions(static_cast<std::size_t>(slots));
        const KvView ring =
            KvView::ring(k.view(), v.view(), {.sink = sink, .tokens = shape.Tk, .positions = positions});
        on_every_isa([&](Context& context) {
            EXPECT_LE(distance(attend(c, ring, context), attend(c, context)), 2e-5) << describe(c);
        });
    }
}

std::vector<bool> pages_that_some_query_sees(const Case& c, std::int64_t page_size) {
    std::vector<bool> seen(static_cast<std::size_t>((c.shape.Tk + page_size - 1) / page_size));
    const std::int64_t first = c.options.q_offset.value_or(c.shape.Tk - c.shape.Tq);
    for (std::int64_t j = 0; j < c.shape.Tk; ++j)
        for (std::int64_t t = 0; t < c.shape.Tq; ++t)
            if (naive_visible({0, t, j, first + t, j}, c.options, c.extras))
                seen[static_cast<std::size_t>(j / page_size)] = true;
    return seen;
}

/// Pages that no query sees may have been given back: their entries are never read through.
void expect_missing_pages_do_not_matter(const Case& c, std::int64_t page_size) {
    const PagedPool<float> whole({{c.k.view(), c.v.view()}}, page_size, PageLayout::token_head);
    PagedPool<float> holes({{c.k.view(), c.v.view()}}, page_size, PageLayout::token_head);
    const std::vector<bool> seen = pages_that_some_query_sees(c, page_size);
    for (std::size_t p = 0; p < seen.size(); ++p)
        if (!seen[p]) holes.table()[p] = p % 2 == 0 ? -1 : 1 << 30;
    on_every_isa([&](Context& context) {
        EXPECT_TRUE(same_bits(attend(c, holes.view(), context), attend(c, whole.view(), context))) << describe(c);
    });
    const auto first = std::find(seen.begin(), seen.end(), true) - seen.begin();
    if (first == std::ssize(seen)) return;
    holes.table()[static_cast<std::size_t>(first)] = -1;
    Context context;
    EXPECT_TRUE(refuses([&] { attend(c, holes.view(), context); }, {"block_table", std::to_string(first)}))
        << describe(c);
}

TEST(SoftmaxViews, PagesThatNoQuerySeesMayBeMissing) {
    for (const Shape& shape : one_shape_of_each_regime())
        for (const char* option : {"causal window_left 70", "window_left 0", "window 5, 140", "own mask",
                                   "q_offset negative", "q_offset inside"})
            for (const std::int64_t page_size : {1, 5, 16, 64}) {
                SCOPED_TRACE(page_size);
                Case c(shape);
                c.options.causal = true;
                for (const OptionSetter& setter : option_setters())
                    if (std::string(option) == setter.name) apply(setter, c);
                expect_missing_pages_do_not_matter(c, page_size);
            }
}

/// Each sequence of a batch may stand elsewhere.
TEST(SoftmaxViews, EverySequenceOfABatchHasItsOffset) {
    const Case a({2, 1, 3, 50, 8, 8}, 1), b({2, 1, 3, 33, 8, 8}, 2);
    const PagedPool<float> pool({{a.k.view(), a.v.view()}, {b.k.view(), b.v.view()}}, 16, PageLayout::head_token);
    const std::int64_t q_offsets[] = {20, 4};
    const std::int32_t q_lengths[] = {3, 3};
    attenta::SoftmaxOptions options;
    options.causal = true, options.q_offsets = q_offsets;
    Tensor<float> q(2, 6, 8);
    q.each_row([&](float* row, std::int64_t h, std::int64_t t) {
        std::copy_n(t < 3 ? a.q.row(h, t) : b.q.row(h, t - 3), 8, row);
    });
    on_every_isa([&](Context& context) {
        Output out(2, 6, 8);
        attenta::softmax_attention(q.view(), q_lengths, pool.view(), out.o.view(), options, out.lse.data(), context);
        for (const Case* c : {&a, &b}) {
            Case alone(c->shape, c == &a ? 1 : 2);
            alone.options.causal = true, alone.options.q_offset = q_offsets[c == &a ? 0 : 1];
            const Output want = attend(alone, context);
            want.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
                EXPECT_TRUE(same_bits(row, out.o.row(h, c == &a ? t : t + 3), 8)) << h << ", " << t;
            });
        }
    });
}

/// Each sequence of a batch has its own row of positions.
TEST(SoftmaxViews, PositionsOfABatchAreRowsOfATable) {
    const Case a({2, 1, 1, 50, 8, 8}, 1), b({2, 1, 1, 33, 8, 8}, 2);
    const PagedPool<float> pool({{a.k.view(), a.v.view()}, {b.k.view(), b.v.view()}}, 16, PageLayout::head_token);
    std::vector<std::int32_t> positions(2 * 64, -1);
    for (std::int32_t i = 0; i < 50; ++i) positions[static_cast<std::size_t>(i)] = 49 - i;
    for (std::int32_t i = 0; i < 33; ++i) positions[static_cast<std::size_t>(64 + i)] = 2 * i;
    KvView kv = pool.view();
    kv.positions = positions.data(), kv.positions_stride = 64;
    attenta::SoftmaxOptions options;
    options.causal = true, options.window_left = 20, options.q_offset = 48;
    const Naive want_a = naive_softmax(a.q.view(), a.k.view(), a.v.view(), options, {{}, {}, positions.data()});
    const Naive want_b = naive_softmax(b.q.view(), b.k.view(), b.v.view(), options, {{}, {}, positions.data() + 64});
    Tensor<float> q(2, 2, 8);
    q.each_row([&](float* row, std::int64_t h, std::int64_t t) { std::copy_n((t == 0 ? a : b).q.row(h, 0), 8, row); });
    const std::int32_t q_lengths[] = {1, 1};
    on_every_isa([&](Context& context) {
        Output out(2, 2, 8);
        attenta::softmax_attention(q.view(), q_lengths, kv, out.o.view(), options, out.lse.data(), context);
        out.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
            const Naive& want = t == 0 ? want_a : want_b;
            for (std::int64_t i = 0; i < 8; ++i) EXPECT_NEAR(row[i], want.o_row(h, 0)[i], 2e-5);
            EXPECT_NEAR(out.lse_at(h, t), want.lse.data()[h], 2e-5);
        });
    });
}

/// One plan serves every layer of a pool.
TEST(SoftmaxViews, APlanRunsOnEveryLayer) {
    const Case first({4, 2, 5, 90, 16, 16}, 1), second({4, 2, 5, 90, 16, 16}, 2);
    Tensor<float> pool(2, 4 * 90, 16, Order::token_head);  // [layer, K or V, token, head, dim]
    const auto put = [&](const Tensor<float>& from, std::int64_t at) {
        from.each_row([&](float* row, std::int64_t h, std::int64_t t) { std::copy_n(row, 16, pool.row(h, at + t)); });
    };
    put(first.k, 0), put(first.v, 90), put(second.k, 180), put(second.v, 270);
    KvView kv = KvView::of(pool.view().slice(0, 90), pool.view().slice(90, 90));
    kv.k.layer_stride = kv.v.layer_stride = 180 * pool.view().token_stride;
    on_every_isa([&](Context& context) {
        const attenta::SoftmaxPlan plan = attenta::plan_softmax(first.q.view(), {}, kv, {}, context);
        int layer = 0;
        for (const Case* c : {&first, &second}) {
            Output out(4, 5, 16);
            plan.run(c->q.view(), kv.at(layer++), out.o.view(), out.lse.data());
            Context alone;
            EXPECT_TRUE(same_bits(out, attend(*c, alone)));
        }
    });
}

}  // namespace
}  // namespace attenta_test
