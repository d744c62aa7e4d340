// Searches of an index, in a context that was used before, allocate nothing. This program counts every call of operator new.
#include <attenta/sparse/retrieval/retrieval_index.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <new>
#include <vector>

#include "support/count_allocations.hpp"
#include "support/isas.hpp"
#include "support/tensor.hpp"

namespace attenta_test {
namespace {

TEST(SparseAllocationCount, CountsAnAllocation) {
    const std::int64_t before = allocations;
    ::operator delete(::operator new(10));
    EXPECT_EQ(allocations - before, 1);
}

TEST(SparseAllocation, SearchesAllocateNothing) {
    Random random(2);
    const Tensor<float> keys = random_tensor(random, 1, 300, 24), q = random_tensor(random, 2, 6, 24);
    const attenta::Heads<const float> k = keys.view();
    const attenta::RetrievalIndex index({.kv = attenta::KvView::of(k, k), .end = 300}, {q.view().data, 1, 12, 24},
                                        {.degree = 8, .query_neighbours = 20, .build_queue = 24});
    std::vector<std::int64_t> found(12 * 9), scanned(12);
    on_every_isa([&](attenta::Context& context) {
        for (int repeat = 0; repeat < 3; ++repeat) {
            const std::int64_t before = allocations;
            index.search(q.view(), {.top_k = 9, .search_queue = 40}, found.data(), context, scanned.data());
            if (repeat > 0) {
                EXPECT_EQ(allocations - before, 0);
            }
        }
    });
}

}  // namespace
}  // namespace attenta_test
