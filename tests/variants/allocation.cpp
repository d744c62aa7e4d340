// Steady decode steps of the variants allocate nothing.
#include <attenta/variants.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "support/count_allocations.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::Heads, attenta::KvView, attenta::Matrices;

struct Step {
    Random random{1};
    Tensor<float> q = random_tensor(random, 4, 1, 16), k = random_tensor(random, 2, 300, 16),
                  v = random_tensor(random, 2, 300, 24), o{4, 1, 24};
    std::vector<float> numbers = random.normals(4096), state = std::vector<float>(4 * 300);
    KvView kv = KvView::of(k.view(), v.view());
    attenta::WeightedOutputs out{o.view()};
    attenta::VisibleKeys causal = {.causal = true};

    std::span<const float> vector(std::size_t n) const { return std::span(numbers).first(n); }
    Matrices<const float> matrix(std::int64_t rows, std::int64_t cols) const { return {numbers.data(), 1, rows, cols}; }
};

/// The third of equal steps makes no allocation, with one thread and with two.
template <class F>
void expect_none(F&& step) {
    on_every_isa([&](Context& context) {
        step(context), step(context);
        const std::int64_t before = allocations;
        step(context);
        EXPECT_EQ(allocations - before, 0);
    });
}

TEST(VariantsAllocation, StepsWithLocalWeights) {
    const Step s;
    expect_none([&](Context& c) { attenta::sigmoid({s.q.view(), s.kv}, s.out, {.visibility = s.causal}, c); });
    expect_none([&](Context& c) { attenta::relu({s.q.view(), s.kv}, s.out, {.visibility = s.causal}, c); });
    expect_none([&](Context& c) { attenta::relu({s.q.view(), s.kv}, s.out, {.divide = attenta::ReluDivide::sum}, c); });
    expect_none([&](Context& c) {
        attenta::mega_attention({s.q.view(), s.kv, {.rel_bias = s.vector(701)}}, s.out,
                                {.activation = attenta::MegaActivation::laplace, .visibility = s.causal}, c);
    });
    expect_none([&](Context& c) {
        attenta::combined({s.q.view(), s.kv}, {s.out}, {.gate = attenta::CombinedGate::center}, c);
    });
}

TEST(VariantsAllocation, StepsThatNeedWholeRows) {
    Step s;
    expect_none([&](Context& c) { attenta::sparsemax({s.q.view(), s.kv}, {s.out}, {.visibility = s.causal}, c); });
    expect_none([&](Context& c) { attenta::entmax({s.q.view(), s.kv}, {s.out}, {.visibility = s.causal}, c); });
    expect_none([&](Context& c) { attenta::normalized({s.q.view(), s.kv, s.vector(4), s.vector(4)}, s.out, {}, c); });
    expect_none([&](Context& c) {
        attenta::intra_temporal({s.q.view(), s.kv, s.matrix(16, 16), {s.state.data(), 1, 4, 300}},
                                {s.out, {s.state.data(), 1, 4, 300}}, {}, c);
    });
}

TEST(VariantsAllocation, StepsOfMemoriesAndProjections) {
    const Step s;
    const attenta::SoftmaxOutputs out{s.o.view()};
    expect_none([&](Context& c) { attenta::hopfield({s.q.view(), s.kv}, {out}, {.steps = 2}, c); });
    expect_none([&](Context& c) { attenta::intra_decoder({s.q.view(), s.kv, s.matrix(16, 16)}, s.out, {}, c); });
    const auto one = [](const Tensor<float>& x) {
        return attenta::Heads<const float>(x.view()).slice(0, x.view().tokens);
    };
    Heads<const float> q = one(s.q), k = one(s.k), v = one(s.v);
    q.heads = k.heads = v.heads = 1;
    expect_none([&](Context& c) {
        attenta::head_embedding({q, KvView::of(k, v), s.matrix(4, 16), s.matrix(4, 16), s.matrix(4, 24)}, out, {}, c);
    });
    const Matrices<const float> raw{s.v.view().data, 1, 60, 96};
    expect_none([&](Context& c) { attenta::optimised({s.q.view(), s.k.view().slice(0, 60), raw}, out, {}, c); });
}

}  // namespace
}  // namespace attenta_test
