// Plans: what is decided once, and what a run may rely on.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using attenta::Context;
using attenta::KvView;

TEST(SoftmaxPlan, SeveralOfOneContextRunInAnyOrder) {
    const Case small({4, 2, 3, 50, 16, 16}), large({8, 2, 100, 700, 64, 64}), split({8, 2, 1, 4000, 32, 32});
    on_every_isa([&](Context& context) {
        std::vector<attenta::SoftmaxPlan> plans;
        const auto kv = [](const Case& c) { return KvView::of(c.k.view(), c.v.view()); };
        for (const Case* c : {&small, &large, &split})
            plans.push_back(attenta::plan_softmax(c->q.view(), {}, kv(*c), {}, context));
        for (int repeat = 0; repeat < 2; ++repeat) {
            std::size_t plan = 0;
            for (const Case* c : {&small, &large, &split}) {
                Output out(c->shape.Hq, c->shape.Tq, c->shape.Dv);
                plans[plan++].run(c->q.view(), kv(*c), out.o.view(), out.lse.data());
                Context alone;
                EXPECT_TRUE(same_bits(out, attend(*c, alone))) << c->shape;
            }
        }
    });
}

/// A plan that gets no memory leaves the others of its context as they were.
TEST(SoftmaxPlan, OthersOutliveOneThatGetsNoMemory) {
    const Case small({4, 2, 3, 50, 16, 16}), large({32, 32, 200, 300, 512, 512});
    enum class Memory { there, none, thrown };
    Memory memory = Memory::there;
    attenta::ThreadPool pool(2);
    Context context(pool, {[&](std::size_t bytes) -> void* {
                               if (memory == Memory::thrown) throw std::bad_alloc();
                               return memory == Memory::none ? nullptr : ::operator new (bytes, std::align_val_t{64});
                           },
                           [](void* p, std::size_t) { ::operator delete (p, std::align_val_t{64}); }});
    const KvView kv = KvView::of(small.k.view(), small.v.view());
    const attenta::SoftmaxPlan plan = attenta::plan_softmax(small.q.view(), {}, kv, {}, context);
    Context alone;
    const Output want = attend(small, alone);
    const auto expect_same = [&] {
        Output out(4, 3, 16);
        plan.run(small.q.view(), kv, out.o.view(), out.lse.data());
        EXPECT_TRUE(same_bits(out, want));
    };
    memory = Memory::none;
    EXPECT_THROW(attend(large, context), attenta::Error);
    expect_same();
    memory = Memory::thrown;
    EXPECT_THROW(attend(large, context), std::bad_alloc);
    expect_same();
    memory = Memory::there;
    attend(large, context);
    expect_same();
}

TEST(SoftmaxPlan, KeepsTheInstructionSetItWasMadeWith) {
    const Case c({4, 2, 40, 300, 64, 64});
    const KvView kv = KvView::of(c.k.view(), c.v.view());
    for (const attenta::Isa isa : available_isas()) {
        Context context;
        const IsaScope scope(isa);
        const Output want = attend(c, context);
        const attenta::SoftmaxPlan plan = attenta::plan_softmax(c.q.view(), {}, kv, {}, context);
        for (const attenta::Isa other : available_isas()) {
            attenta::set_isa(other);
            Output out(4, 40, 64);
            plan.run(c.q.view(), kv, out.o.view(), out.lse.data());
            EXPECT_TRUE(same_bits(out, want)) << name(isa) << " and " << name(other);
        }
    }
}

TEST(SoftmaxPlan, AnEmptyOneRefusesToRun) {
    const Case c({4, 2, 3, 50, 16, 16});
    const KvView kv = KvView::of(c.k.view(), c.v.view());
    Output out(4, 3, 16);
    const auto run = [&](const attenta::SoftmaxPlan& plan) {
        return [&] { plan.run(c.q.view(), kv, out.o.view(), out.lse.data()); };
    };
    attenta::SoftmaxPlan plan;
    EXPECT_FALSE(plan);
    EXPECT_EQ(plan.scratch_bytes(), 0u);
    EXPECT_TRUE(refuses(run(plan), {"run", "plan", "empty"}));
    attenta::SoftmaxPlan made = attenta::plan_softmax(c.q.view(), {}, kv);
    plan = std::move(made);
    EXPECT_TRUE(plan);
    EXPECT_TRUE(refuses(run(made), {"empty"}));
    run(plan)();
}

TEST(SoftmaxPlan, ScratchDoesNotGrowWithTheLengthOfPrefill) {
    const Tensor<float> keys(2, 8192, 64);
    for (const int threads : {1, 2}) {
        attenta::ThreadPool pool(threads);
        const auto scratch = [&](std::int64_t tokens) {
            Context context(pool);
            attenta::SoftmaxOptions options;
            options.causal = true;
            const attenta::Heads<const float> q =
                attenta::hnd<const float>(nullptr, 8, tokens, 64);  // a plan reads no q
            return attenta::plan_softmax(q, {}, KvView::of(keys.view().slice(0, tokens), keys.view().slice(0, tokens)),
                                         options, context)
                .scratch_bytes();
        };
        EXPECT_LE(scratch(8192), static_cast<std::size_t>(threads) << 23);
        EXPECT_LE(scratch(8192), scratch(2048) + (std::size_t{1} << 16));
    }
}

}  // namespace
}  // namespace attenta_test
