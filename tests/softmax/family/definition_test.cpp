// Every attention equals its definition, which stands on top of its own test, in any memory and for any threads.
#include <cstdint>
#include <numeric>
#include <optional>
#include <vector>

#include "softmax/support/mechanism.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"

namespace attenta_test {
namespace {

class AttentionDefinition : public AttentionSuite {};
ATTENTA_ATTENTION_SUITE(AttentionDefinition);

/// One token, a chunk, odd sizes, groups, Dv other than D, queries enough for tiles, keys enough for parts.
const std::vector<Shape> shapes = {{1, 1, 1, 1, 8, 8},     {4, 2, 1, 37, 16, 24},   {3, 1, 9, 9, 6, 5},
                                   {4, 2, 5, 130, 34, 16}, {2, 2, 70, 70, 16, 40},  {8, 2, 90, 150, 24, 20},
                                   {6, 3, 1, 300, 40, 33}, {4, 1, 40, 17, 16, 16},  {16, 1, 3, 40, 12, 12},
                                   {2, 1, 1, 2500, 16, 8}, {4, 4, 65, 140, 20, 20}, {1, 1, 7, 300, 4, 3}};

void expect_definition(const AttentionCase& c) {
    SCOPED_TRACE(c.words);
    const Naive want = c.mechanism->naive(c);
    on_every_isa([&](Context& context) {
        Output got = output_of(c);
        call(c, got, context);
        EXPECT_TRUE(close(got, want));
    });
}

TEST_P(AttentionDefinition, HoldsForAwkwardShapes) {
    for (std::size_t i = 0; i < shapes.size(); ++i) expect_definition(attention_case(*GetParam(), shapes[i], 0, i + 1));
}

TEST_P(AttentionDefinition, HoldsForEachVariant) {
    for (std::size_t variant = 1; variant < GetParam()->variants.size(); ++variant)
        for (const std::size_t i : {std::size_t{1}, std::size_t{3}, std::size_t{5}, std::size_t{8}})
            expect_definition(attention_case(*GetParam(), shapes[i], variant, 100 + i));
}

/// The options that VisibleKeys has, one by one and together.
TEST_P(AttentionDefinition, HoldsForVisibility) {
    if (!GetParam()->visibility) GTEST_SKIP() << "it has a rule of its own";
    using Set = void (*)(AttentionCase&, attenta::VisibleKeys&);
    const Set setters[] = {
        [](AttentionCase&, attenta::VisibleKeys& v) { v.causal = true; },
        [](AttentionCase&, attenta::VisibleKeys& v) { v.causal = true, v.prefix = 9, v.window_left = 60; },
        [](AttentionCase&, attenta::VisibleKeys& v) { v.window_left = 5, v.window_right = 3; },
        [](AttentionCase& c, attenta::VisibleKeys& v) { v.causal = true, v.q_offset = c.shape.Tk / 3; },
        [](AttentionCase& c, attenta::VisibleKeys& v) { v.q_offset = -(c.shape.Tq / 2) - 1, v.causal = true; },
        [](AttentionCase& c, attenta::VisibleKeys& v) { v.q_offset = c.shape.Tk + 15; },
        [](AttentionCase& c, attenta::VisibleKeys& v) {
            for (std::int64_t t = 0; t < c.shape.Tq; ++t) c.segment_q.push_back(c.random.integer(0, 2));
            for (std::int64_t t = 0; t < c.shape.Tk; ++t) c.segment_k.push_back(c.random.integer(0, 2));
            v.segment_q = c.segment_q, v.segment_k = c.segment_k;
        },
        [](AttentionCase& c, attenta::VisibleKeys& v) {
            const std::int64_t rows = c.shape.Hq * c.shape.Tq;
            c.mask = std::make_unique<bool[]>(static_cast<std::size_t>(rows * c.shape.Tk));
            for (std::int64_t i = 0; i < rows * c.shape.Tk; ++i)
                c.mask[static_cast<std::size_t>(i)] = c.random.chance(0.4) && i / c.shape.Tk % 5 != 2;
            v.mask = {c.mask.get(), c.shape.Hq, c.shape.Tq, c.shape.Tk};
            v.causal = true;
        }};
    for (const Set set : setters)
        for (const std::size_t i : {std::size_t{1}, std::size_t{3}, std::size_t{5}}) {
            AttentionCase c = attention_case(*GetParam(), shapes[i], 0, 200 + i);
            set(c, *GetParam()->visibility(c));
            c.words += ", visibility " + std::to_string(&set - &*std::begin(setters));
            expect_definition(c);
        }
}

/// Inputs and outputs with tokens first and room between rows.
TEST_P(AttentionDefinition, HoldsForStrides) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const Shape& s : {Shape{4, 2, 67, 130, 16, 24}, Shape{4, 2, 3, 130, 16, 24}}) {
            const AttentionCase c = attention_case(*GetParam(), s, variant, 7, 3);
            SCOPED_TRACE(c.words);
            Output got = output_of(c, Order::token_head, 3);
            Context context;
            call(c, got, context);
            EXPECT_TRUE(close(got, c.mechanism->naive(c)));
        }
}

TEST_P(AttentionDefinition, HoldsForPages) {
    if (!GetParam()->reads_cache()) GTEST_SKIP() << "K is made anew";
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const Shape& s : {Shape{4, 2, 67, 130, 16, 24}, Shape{4, 2, 1, 130, 16, 24}}) {
            AttentionCase c = attention_case(*GetParam(), s, variant, 7);
            SCOPED_TRACE(c.words);
            const Naive want = c.mechanism->naive(c);
            const PagedPool<float> pool({{c.view("k"), c.view("v")}}, 8, PageLayout::token_head);
            c.caches.insert_or_assign("k", pool.view());
            Output got = output_of(c);
            Context context;
            call(c, got, context);
            EXPECT_TRUE(close(got, want));
        }
}

/// Of halves the definition is that of the rounded numbers.
template <class T>
void expect_definition_in(const AttentionMechanism& m) {
    for (std::size_t variant = 0; variant < m.variants.size(); ++variant)
        for (const Shape& s : {Shape{4, 2, 67, 130, 16, 24}, Shape{4, 2, 1, 130, 18, 24}}) {
            AttentionCase c = attention_case(m, s, variant, 11);
            SCOPED_TRACE(c.words);
            const auto k = converted<T>(c.view("k")), v = converted<T>(c.view("v"));
            c.floats.insert_or_assign("k", converted<float>(k.view()));
            c.floats.insert_or_assign("v", converted<float>(v.view()));
            const Naive want = m.naive(c);
            c.caches.insert_or_assign("k", KvView::of(k.view(), v.view()));
            on_every_isa([&](Context& context) {
                Output got = output_of(c);
                call(c, got, context);
                EXPECT_TRUE(close(got, want));
            });
        }
}

TEST_P(AttentionDefinition, HoldsForHalves) {
    if (!GetParam()->reads_cache()) GTEST_SKIP() << "K is made anew";
    expect_definition_in<attenta::bfloat16>(*GetParam());
    expect_definition_in<attenta::float16>(*GetParam());
}

/// Keys of a cache in another order, with their positions: the same for whoever sees them.
TEST_P(AttentionDefinition, DoesNotDependOnTheOrderOfTheCache) {
    if (!GetParam()->reads_cache() || !GetParam()->keys_in_any_order) GTEST_SKIP() << "keys have their order";
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const Shape& s : {Shape{4, 2, 67, 130, 16, 24}, Shape{4, 2, 1, 130, 16, 24}}) {
            AttentionCase c = attention_case(*GetParam(), s, variant, 17);
            SCOPED_TRACE(c.words);
            if (GetParam()->visibility) GetParam()->visibility(c)->causal = true;
            const Naive want = c.mechanism->naive(c);
            std::vector<std::int32_t> order(130);
            std::iota(order.rbegin(), order.rend(), 0);
            std::swap(order[3], order[77]);
            const auto k = reordered(c.view("k"), order), v = reordered(c.view("v"), order);
            KvView kv = KvView::of(k.view(), v.view());
            kv.positions = order.data();
            kv.positions_stride = 130;
            c.caches.insert_or_assign("k", kv);
            Output got = output_of(c);
            Context context;
            call(c, got, context);
            EXPECT_TRUE(close(got, want));
        }
}

TEST_P(AttentionDefinition, IsTheSameForAnyThreads) {
    for (const Shape& s : {Shape{8, 2, 90, 150, 24, 20}, Shape{8, 2, 1, 1000, 32, 32}}) {
        const AttentionCase c = attention_case(*GetParam(), s, 0, 3);
        SCOPED_TRACE(c.words);
        std::optional<Output> first;
        for (const int threads : {1, 2, 3}) {
            attenta::ThreadPool pool(threads);
            Context context(pool);
            Output got = output_of(c);
            call(c, got, context);
            if (first) {
                EXPECT_TRUE(same_bits(*first, got)) << threads << " threads";
            } else {
                first.emplace(std::move(got));
            }
        }
    }
}

/// Later tokens are not looked at.
TEST_P(AttentionDefinition, IsCausal) {
    if (!GetParam()->visibility) GTEST_SKIP() << "it has a rule of its own";
    AttentionCase c = attention_case(*GetParam(), {4, 2, 80, 80, 16, 16}, 0, 13);
    SCOPED_TRACE(c.words);
    GetParam()->visibility(c)->causal = true;
    Context context;
    Output before = output_of(c), after = output_of(c);
    call(c, before, context);
    const std::int64_t changed = 75;
    for (const char* name : {"k", "v"})
        for (std::int64_t h = 0; h < c.shape.Hkv; ++h)
            for (std::int64_t t = changed; t < 80; ++t)
                for (std::int64_t d = 0; d < c.view(name).dim; ++d) c.view(name).row(h, t)[d] *= -3;
    call(c, after, context);
    for (std::int64_t h = 0; h < c.shape.Hq; ++h)
        for (std::int64_t t = 0; t < changed; ++t)
            EXPECT_TRUE(same_row(before, after, h, t)) << "head " << h << ", query " << t;
}

/// A query that is no number leaves others alone, with every width of vectors.
TEST_P(AttentionDefinition, KeepsNanInItsRows) {
    if (GetParam()->mixes_tokens) GTEST_SKIP() << "it has neighbours";
    if (!GetParam()->rows_are_apart) GTEST_SKIP() << "later rows depend on a query";
    AttentionCase c = attention_case(*GetParam(), {4, 2, 70, 90, 16, 16}, 0, 19);
    SCOPED_TRACE(c.words);
    on_every_isa([&](Context& context) {
        Output before = output_of(c), after = output_of(c);
        call(c, before, context);
        float& x = c.view("q").row(1, 5)[3];
        const float was = x;
        x = std::numeric_limits<float>::quiet_NaN();
        call(c, after, context);
        x = was;
        for (std::int64_t h = 0; h < c.shape.Hq; ++h)
            for (std::int64_t t = 0; t < c.shape.Tq; ++t) {
                if (h == 1 && t == 5)
                    EXPECT_TRUE(std::isnan(after.o.row(h, t)[0]));
                else
                    EXPECT_TRUE(same_row(before, after, h, t)) << "head " << h << ", query " << t;
            }
    });
}

}  // namespace
}  // namespace attenta_test
