// Steady calls, in a context that was used before, allocate nothing: decode steps over lists and selections, searches of an
// index. This program counts every call of operator new.
#include <attenta/attenta.hpp>
#include <attenta/sparse.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <new>
#include <vector>

#include "support/count_allocations.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"
#include "support/tensor.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::KeyLists, attenta::KvView;

TEST(SparseAllocationCount, CountsAnAllocation) {
    const std::int64_t before = allocations;
    ::operator delete(::operator new(10));
    EXPECT_EQ(allocations - before, 1);
}

/// The first two steps may allocate, the following ones may not.
template <class Step>
void expect_steady_steps_allocate_nothing(Step&& step) {
    on_every_isa([&](Context& context) {
        for (int repeat = 0; repeat < 4; ++repeat) {
            const std::int64_t before = allocations;
            step(context);
            if (repeat >= 2) {
                EXPECT_EQ(allocations - before, 0);
            }
        }
    });
}

/// A decode step of grouped heads.
class SparseAllocation : public testing::Test {
protected:
    static constexpr std::int64_t heads = 8, kv_heads = 2, keys = 700, dim = 24, dim_v = 16;

    Tensor<float> draw(std::int64_t n, std::int64_t tokens, std::int64_t width) {
        return random_tensor(random_, n, tokens, width);
    }
    attenta::SparseOutputs out() { return {.o = o_.view(), .lse = lse_}; }

    /// Some runs for each of so many heads.
    static KeyLists lists_of(KeyLists::Shape shape) {
        shape.queries = 1;
        shape.keys = keys;
        KeyLists lists(shape);
        for (std::int64_t h = 0; h < shape.heads; ++h) {
            lists.add(16 * h, 32);
            lists.add(320 + 16 * h, 64);
            lists.end_list();
        }
        return lists;
    }

    Random random_{3};
    Tensor<float> q_ = draw(heads, 1, dim), k_ = draw(kv_heads, keys, dim), v_ = draw(kv_heads, keys, dim_v),
                  o_{heads, 1, dim_v};
    float lse_[heads];
    KvView kv_ = KvView::of(k_.view(), v_.view());
};

TEST_F(SparseAllocation, AttentionOverLists) {
    std::vector<KeyLists> all = {lists_of({.heads = 1}), lists_of({.heads = kv_heads}), lists_of({.heads = heads}),
                                 lists_of({.heads = heads, .query_step = 1}), lists_of({.heads = heads})};
    all.back().bias.assign(static_cast<std::size_t>(all.back().size()), 0.5f);
    all.back().key_gain = all.back().value_gain = all.back().bias;
    const std::vector<float> slopes = attenta::alibi_slopes(heads);
    for (const KeyLists& lists : all)
        expect_steady_steps_allocate_nothing([&](Context& context) {
            attenta::softmax_attention(
                q_.view(), kv_, o_.view(),
                {.causal = true, .window_left = 600, .softcap = 9, .alibi_slopes = slopes, .lists = {&lists, 1}}, lse_,
                context);
        });
}

TEST_F(SparseAllocation, AttentionOverListsOfABatch) {
    const Tensor<float> q = draw(heads, 2, dim), o(heads, 2, dim_v);
    const std::vector<std::int32_t> q_lengths = {1, 1};
    const PagedPool<float> pool({{k_.view(), v_.view()}, {k_.view(), v_.view()}}, 16, PageLayout::token_head);
    const std::vector<KeyLists> lists = {lists_of({.heads = 1}), lists_of({.heads = heads})};
    expect_steady_steps_allocate_nothing([&](Context& context) {
        attenta::softmax_attention(q.view(), q_lengths, pool.view(), o.view(), {.lists = lists}, nullptr, context);
    });
}

TEST_F(SparseAllocation, AttentionInAWindow) {
    expect_steady_steps_allocate_nothing([&](Context& context) {
        attenta::softmax_attention(q_.view(), kv_, o_.view(), {.causal = true, .window_left = 200}, lse_, context);
    });
}

TEST_F(SparseAllocation, GivenLists) {
    const std::vector<std::int64_t> indptr = {0, 5}, indices = {400, 3, 4, 699, 17}, blocks = {9, 0, 3, 4, 10};
    const std::vector<float> bias = {1, 2, 3, 4, 5};
    expect_steady_steps_allocate_nothing([&](Context& context) {
        attenta::csr({q_.view(), kv_, indptr, indices, bias}, out(), {}, context);
        attenta::block_sparse({q_.view(), kv_, indptr, blocks}, out(), {.causal = true}, context);
    });
}

TEST_F(SparseAllocation, SelectionsOfPages) {
    attenta::PageBounds bounds(kv_heads, dim, 16);
    bounds.update(kv_);
    attenta::BlockMeans means(kv_heads, dim, 64);
    means.update(kv_);
    KeyLists lists;
    expect_steady_steps_allocate_nothing([&](Context& context) {
        attenta::quest({q_.view(), kv_, &bounds}, out(), {.top_pages = 5}, context);
        attenta::quest_lists({q_.view(), kv_, &bounds}, lists, {.top_pages = 5}, context);
        attenta::moba({q_.view(), kv_, &means}, out(), {.block_size = 64}, context);
    });
}

TEST_F(SparseAllocation, Indexers) {
    const Tensor<float> q_idx = draw(4, 1, dim), k_idx = draw(1, keys, dim), w_idx = draw(4, 1, 1),
                        q_msa = draw(kv_heads, 1, dim);
    const attenta::Matrices<const float> rows{k_idx.view().data, 1, keys, dim};
    KeyLists lists;
    expect_steady_steps_allocate_nothing([&](Context& context) {
        attenta::DsaOutputs to{out()};
        to.lists = &lists;
        attenta::dsa({q_.view(), kv_, q_idx.view(), rows, w_idx.view()}, to, {.top_k = 50}, context);
        attenta::msa({q_.view(), kv_, q_msa.view(), rows}, out(), {.block_size = 32, .top_k = 4}, context);
    });
}

TEST_F(SparseAllocation, Retrieval) {
    const Tensor<float> pca = draw(kv_heads, dim, dim);
    attenta::LowRankKeys low(pca.view(), 6);
    low.update(kv_);
    attenta::RetrievalOutputs to{out()};
    expect_steady_steps_allocate_nothing([&](Context& context) {
        attenta::loki({q_.view(), kv_, pca.view(), &low}, out(), {.d = 6, .top_k = 40}, context);
        attenta::retrieval({q_.view(), kv_}, to, {.sink = 4, .window = 32, .top_k = 20}, context);
        attenta::knn_memory({q_.view(), kv_, kv_}, out(), {.top_k = 20}, context);
    });
}

TEST_F(SparseAllocation, Searches) {
    const Tensor<float> keys_of_index = draw(1, 300, 24), q = draw(2, 6, 24);
    const attenta::Heads<const float> k = keys_of_index.view();
    const attenta::RetrievalIndex index({.kv = KvView::of(k, k), .end = 300}, {q.view().data, 1, 12, 24},
                                        {.degree = 8, .query_neighbours = 20, .build_queue = 24});
    std::vector<std::int64_t> found(12 * 9), scanned(12);
    expect_steady_steps_allocate_nothing([&](Context& context) {
        index.search(q.view(), {.top_k = 9, .search_queue = 40}, found.data(), context, scanned.data());
    });
}

}  // namespace
}  // namespace attenta_test
