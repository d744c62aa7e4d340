// A plan's `run` allocates nothing. This program counts every call of operator new.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "support/count_allocations.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using attenta::Context;
using attenta::KvView;

/// Runs twice, counting; results are what the one-line call gives.
void expect_no_allocation(const attenta::SoftmaxPlan& plan, attenta::Heads<const float> q, const KvView& kv,
                          Output& out) {
    for (int repeat = 0; repeat < 2; ++repeat) {
        const std::int64_t before = allocations;
        plan.run(q, kv, out.o.view(), out.lse.data());
        EXPECT_EQ(allocations - before, 0);
    }
}

template <class F>
void with_every_executor(F&& fn) {
    attenta::SerialExecutor serial;
    attenta::ThreadPool pool(2);
    for (attenta::Executor* executor :
         {static_cast<attenta::Executor*>(&serial), static_cast<attenta::Executor*>(&pool)})
        for (const attenta::Isa isa : available_isas()) {
            const IsaScope scope(isa);
            Context context(*executor);
            fn(context);
        }
}

TEST(Allocation, IsCounted) {
    const std::int64_t before = allocations;
    ::operator delete(::operator new(10));
    EXPECT_EQ(allocations - before, 1);
}

TEST(Allocation, RunsOfOneSequenceAllocateNothing) {
    for (const Shape& shape : one_shape_of_each_regime())
        for (const OptionSetter& setter : option_setters()) {
            Case c(shape);
            apply(setter, c);
            const KvView kv = KvView::of(c.k.view(), c.v.view());
            with_every_executor([&](Context& context) {
                SCOPED_TRACE(describe(c));
                Output out(shape.Hq, shape.Tq, shape.Dv);
                const attenta::SoftmaxPlan plan = attenta::plan_softmax(c.q.view(), {}, kv, c.options, context);
                expect_no_allocation(plan, c.q.view(), kv, out);
            });
        }
}

template <class T>
void expect_batches_allocate_nothing() {
    std::vector<Case> cases;
    std::vector<Sequence> sequences;
    const std::vector<std::int32_t> q_lengths = {1, 70, 1, 4};
    for (std::size_t s = 0; s < 4; ++s) {
        const std::int64_t keys[] = {300, 90, 3000, 2100};
        cases.emplace_back(Shape{4, 2, q_lengths[s], keys[s], 33, 24}, s);
        sequences.push_back({cases.back().k.view(), cases.back().v.view()});
    }
    const PagedPool<T> pool(sequences, 16, PageLayout::token_head);
    Random random(1);
    const Tensor<float> q = random_tensor(random, 4, 76, 33);
    with_every_executor([&](Context& context) {
        Output out(4, 76, 24);
        const attenta::SoftmaxPlan plan =
            attenta::plan_softmax(q.view(), q_lengths, pool.view(), {.causal = true}, context);
        expect_no_allocation(plan, q.view(), pool.view(), out);
    });
}

TEST(Allocation, RunsOfRaggedBatchesAllocateNothing) {
    expect_batches_allocate_nothing<float>();
    expect_batches_allocate_nothing<attenta::bfloat16>();
    expect_batches_allocate_nothing<attenta::float16>();
}

TEST(Allocation, RunsAskTheUsersAllocatorForNothing) {
    int asked = 0;
    attenta::SerialExecutor serial;
    Context context(serial, {[&](std::size_t bytes) {
                                 ++asked;
                                 return ::operator new (bytes, std::align_val_t{64});
                             },
                             [](void* p, std::size_t) { ::operator delete (p, std::align_val_t{64}); }});
    for (const Shape& shape : one_shape_of_each_regime()) {
        const Case c(shape);
        const KvView kv = KvView::of(c.k.view(), c.v.view());
        const attenta::SoftmaxPlan plan = attenta::plan_softmax(c.q.view(), {}, kv, {}, context);
        const int before = asked;
        Output out(shape.Hq, shape.Tq, shape.Dv);
        plan.run(c.q.view(), kv, out.o.view(), out.lse.data());
        EXPECT_EQ(asked, before);
        EXPECT_GE(context.workspace().size(), plan.scratch_bytes());
    }
    EXPECT_GT(asked, 0);
}

}  // namespace
}  // namespace attenta_test
