// A decode step with a state, in a context that was used before, allocates nothing; a call that gets no memory changes
// nothing. This program counts every call of operator new.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <new>

#include "linear/support/compare.hpp"
#include "linear/support/suite.hpp"
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
    if (c.mechanism->allocates && c.mechanism->allocates(c)) return;
    const LinearViews views = c.views();
    on_every_isa([&](Context& context) {
        LinearOutput out = attend(c, context);
        for (int repeat = 0; repeat < 2; ++repeat) {
            const std::int64_t before = allocations;
            call(c, views, c.options, out.o.view(), out.state, context);
            EXPECT_EQ(allocations - before, 0) << describe(c);
        }
    });
}

TEST_P(LinearAllocation, DecodeStepsAllocateNothing) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const LinearShape& s : {LinearShape{4, 2, 2, 1, 33, 24}, {8, 4, 8, 1, 128, 128}})
            expect_steady_calls_allocate_nothing(linear_case(*GetParam(), s, Gates::mild, variant, true));
}

/// The workspace of a longer call is enough.
TEST_P(LinearAllocation, ADecodeStepAfterAPrefillAllocatesNothing) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant) {
        const LinearCase c = linear_case(*GetParam(), {4, 2, 2, 90, 32, 24}, Gates::mild, variant);
        if (c.shape.Tq || (c.mechanism->allocates && c.mechanism->allocates(c))) continue;
        const LinearViews one = c.views(89, 1);
        const LinearOptions options = options_at(c, 89);
        on_every_isa([&](Context& context) {
            LinearOutput out = attend(c, 0, 89, {}, context), step{Tensor<float>(c.output_heads(), 1, 24), {}};
            const std::int64_t before = allocations;
            call(c, one, options, step.o.view(), out.state, context);
            EXPECT_EQ(allocations - before, 0) << describe(c);
        });
    }
}

/// One allocation after the other fails; at last none does. What fails leaves outputs and state as they were.
void expect_all_or_nothing(const LinearCase& c) {
    const LinearViews views = c.views();
    Context used;
    const LinearOutput want = attend(c, used), before{Tensor<float>(c.output_heads(), c.queries(), c.shape.Dv), c.past};
    for (std::int64_t i = 1, failed = 1; failed; ++i) {
        attenta::SerialExecutor serial;
        Context context(serial);
        LinearOutput out{Tensor<float>(c.output_heads(), c.queries(), c.shape.Dv), c.past};
        failed = 0;
        failing_allocation = allocations + i;
        try {
            call(c, views, c.options, out.o.view(), out.state, context);
        } catch (const std::bad_alloc&) {
            failed = 1;
        } catch (const attenta::Error&) {  // of scratch
            failed = 1;
        }
        failing_allocation = 0;
        EXPECT_TRUE(equal_bits(out, failed ? before : want)) << describe(c) << ", allocation " << i;
        EXPECT_TRUE(failed || i > 1) << describe(c) << ", nothing was allocated";
    }
}

TEST_P(LinearAllocation, ACallWithoutMemoryChangesNothing) {
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const std::int64_t T : {1, 40, 400})
            for (const bool past : {false, true})
                expect_all_or_nothing(linear_case(*GetParam(), {4, 2, 2, T, 32, 24}, Gates::mild, variant, past));
    // Beyond what is held on the stack, in several segments.
    expect_all_or_nothing(linear_case(*GetParam(), {300, 150, 150, 9, 32, 4}, Gates::mild, 0, true));
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        expect_all_or_nothing(linear_case(*GetParam(), {1, 1, 1, 4099, 4, 4}, Gates::mild, variant));
}

}  // namespace
}  // namespace attenta_test
