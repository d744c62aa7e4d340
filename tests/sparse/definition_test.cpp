// Every sparse attention equals its definition, which stands on top of its own test, in any memory and for any threads.
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "sparse/support/mechanism.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"

namespace attenta_test {
namespace {

class SparseDefinition : public SparseSuite {};
ATTENTA_SPARSE_SUITE(SparseDefinition);

/// One token, a chunk, odd sizes, groups, Dv other than D, queries enough for tiles and chains, keys enough for parts.
const std::vector<Shape> shapes = {{1, 1, 1, 1, 8, 8},     {4, 2, 1, 37, 16, 24},    {3, 1, 9, 9, 7, 5},
                                   {4, 2, 5, 130, 33, 16}, {2, 2, 70, 70, 16, 40},   {8, 2, 90, 150, 24, 20},
                                   {6, 3, 1, 300, 40, 33}, {4, 1, 150, 150, 16, 16}, {16, 1, 3, 40, 12, 12},
                                   {4, 4, 65, 140, 20, 20}};

void expect_definition(const SparseCase& c, Tolerance tolerance = {}) {
    SCOPED_TRACE(c.words);
    const Naive want = naive(c);
    on_every_isa([&](Context& context) {
        Output got = output_of(c);
        call(c, got, context);
        EXPECT_TRUE(close(got, want, tolerance));
    });
}

TEST_P(SparseDefinition, HoldsForAwkwardShapes) {
    for (std::size_t i = 0; i < shapes.size(); ++i) expect_definition(sparse_case(*GetParam(), shapes[i], 0, i + 1));
}

TEST_P(SparseDefinition, HoldsForEachVariant) {
    for (std::size_t variant = 1; variant < GetParam()->variants.size(); ++variant)
        for (const std::size_t i : {std::size_t{1}, std::size_t{4}, std::size_t{5}, std::size_t{7}})
            expect_definition(sparse_case(*GetParam(), shapes[i], variant, 100 + i));
}

/// K and V in pages, and outputs with room between rows.
TEST_P(SparseDefinition, HoldsForPagesAndStrides) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
        SparseCase c = sparse_case(*GetParam(), {4, 2, 67, 130, 16, 24}, variant, 7);
        SCOPED_TRACE(c.words);
        const Naive want = naive(c);
        const PagedPool<float> pool({{c.view("k"), c.view("v")}}, 8, PageLayout::token_head);
        c.caches.insert_or_assign("k", pool.view());
        Output got = output_of(c, Order::token_head, 3);
        Context context;
        call(c, got, context);
        EXPECT_TRUE(close(got, want));
    }
}

/// Of halves the definition is that of the rounded numbers.
TEST_P(SparseDefinition, HoldsForHalves) {
    SparseCase c = sparse_case(*GetParam(), {4, 2, 67, 130, 16, 24}, 0, 11);
    SCOPED_TRACE(c.words);
    const auto k = converted<attenta::bfloat16>(c.view("k")), v = converted<attenta::bfloat16>(c.view("v"));
    c.floats.insert_or_assign("k", converted<float>(k.view()));
    c.floats.insert_or_assign("v", converted<float>(v.view()));
    const Naive want = naive(c);
    c.caches.insert_or_assign("k", KvView::of(k.view(), v.view()));
    Output got = output_of(c);
    Context context;
    call(c, got, context);
    EXPECT_TRUE(close(got, want));
}

TEST_P(SparseDefinition, IsTheSameForAnyThreads) {
    for (const Shape& s : {Shape{8, 2, 90, 150, 24, 20}, Shape{8, 2, 1, 1000, 32, 32}}) {
        const SparseCase c = sparse_case(*GetParam(), s, 0, 3);
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

/// The lists that a call gives are those that it has read: with them attention is the same.
TEST_P(SparseDefinition, GivesTheListsThatItReads) {
    const SparseCase c = sparse_case(*GetParam(), {4, 2, 70, 110, 16, 16}, 0, 5);
    SCOPED_TRACE(c.words);
    Context context;
    KeyLists lists;
    Output got = output_of(c), again = output_of(c);
    call(c, got, context, &lists);
    if (lists.lists() == 0) GTEST_SKIP() << "a pattern without lists";
    call(c, again, context);
    EXPECT_TRUE(same_bits(got, again));
    EXPECT_EQ(lists.shape().queries, c.shape.Tq);
    EXPECT_GT(lists.density(), 0.0);
}

TEST_P(SparseDefinition, IsDenseAttentionWhereEverythingIsRead) {
    if (!GetParam()->everything) GTEST_SKIP() << "it never reads everything";
    for (const Shape& s : {Shape{4, 2, 70, 110, 16, 16}, Shape{8, 2, 1, 700, 32, 24}, Shape{4, 2, 3, 90, 16, 16}}) {
        SparseCase c = sparse_case(*GetParam(), s, 0, 9);
        GetParam()->everything(c);
        SCOPED_TRACE(c.words);
        on_every_isa([&](Context& context) {
            Output got = output_of(c), want = output_of(c);
            call(c, got, context);
            attenta::softmax_attention(c.view("q"), c.view("k"), c.view("v"), want.o.view(), {.causal = true},
                                       want.lse.data(), context);
            EXPECT_TRUE(same_bits(want, got));
        });
    }
}

/// Later tokens are not looked at.
TEST_P(SparseDefinition, IsCausal) {
    if (!GetParam()->causal) GTEST_SKIP() << "not causal";
    SparseCase c = sparse_case(*GetParam(), {4, 2, 80, 80, 16, 16}, 0, 13);
    SCOPED_TRACE(c.words);
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

}  // namespace
}  // namespace attenta_test
