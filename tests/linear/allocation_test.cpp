// A decode step with a state, in a context that was used before, allocates nothing. This program counts every call of
// operator new.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cstdint>

#include "linear/support/naive_linear_compare.hpp"
#include "linear/support/naive_linear_suite.hpp"
#include "support/count_allocations.hpp"
#include "support/isas.hpp"

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
