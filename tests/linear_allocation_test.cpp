// A decode step with a state, in a context that was used before, allocates nothing. This program counts every call of
// operator new.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "support/isas.hpp"
#include "support/naive_linear_compare.hpp"
#include "support/naive_linear_suite.hpp"

namespace {

std::atomic<std::int64_t> allocations{0};

void* counted(std::size_t bytes, std::size_t alignment) {
    ++allocations;
    void* p = std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
    if (!p) throw std::bad_alloc();
    return p;
}

}  // namespace

// The other forms of new and delete call these.
void* operator new(std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return counted(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
    return counted(bytes, alignof(std::max_align_t));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace attenta_test {
namespace {

class LinearAllocation : public LinearSuite {};
ATTENTA_LINEAR_SUITE(LinearAllocation);

TEST(LinearAllocationCount, CountsAnAllocation) {
    const std::int64_t before = allocations;
    ::operator delete(::operator new(10));
    EXPECT_EQ(allocations - before, 1);
}

/// The first call may allocate, the following ones may not.
void expect_steady_calls_allocate_nothing(const LinearCase& c) {
    const LinearViews views = c.views();
    on_every_isa([&](Context& context) {
        LinearOutput out = attend(c, context);
        for (int repeat = 0; repeat < 2; ++repeat) {
            const std::int64_t before = allocations;
            call(views, c.options, out.o.view(), out.state, context);
            EXPECT_EQ(allocations - before, 0) << describe(c);
        }
    });
}

TEST_P(LinearAllocation, DecodeStepsAllocateNothing) {
    for (std::size_t variant = 0; variant < GetParam().variants.size(); ++variant)
        for (const LinearShape& s : {LinearShape{4, 2, 2, 1, 33, 24}, {8, 4, 8, 1, 128, 128}})
            expect_steady_calls_allocate_nothing(linear_case(GetParam(), s, Gates::mild, variant, true));
}

/// The workspace of a longer call is enough.
TEST_P(LinearAllocation, ADecodeStepAfterAPrefillAllocatesNothing) {
    for (std::size_t variant = 0; variant < GetParam().variants.size(); ++variant) {
        const LinearCase c = linear_case(GetParam(), {4, 2, 2, 90, 32, 24}, Gates::mild, variant);
        if (c.shape.Tq) continue;
        const LinearViews one = c.views(89, 1);
        const LinearOptions options = c.options_at(89);
        on_every_isa([&](Context& context) {
            LinearOutput out = attend(c, 0, 89, {}, context), step{Tensor<float>(c.output_heads(), 1, 24), {}};
            const std::int64_t before = allocations;
            call(one, options, step.o.view(), out.state, context);
            EXPECT_EQ(allocations - before, 0) << describe(c);
        });
    }
}

}  // namespace
}  // namespace attenta_test
