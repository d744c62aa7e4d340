// A batch of sequences with states in a pool: each gives what it gives alone, to the bit.
#include <attenta/linear.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::LinearState, attenta::StatePool, attenta::StateShape, attenta::StateSequences;
using attenta::Heads;

constexpr std::int64_t heads = 2, dim = 16, dim_v = 9;
constexpr std::array<std::int64_t, 6> starts = {0, 1, 38, 38, 43, 44}, slots = {3, 0, 4, 6, 1};

/// q, k, v, rates and gates of a batch's tokens; gates without tokens, too.
struct Tensors {
    Random random{5};
    Tensor<float> q = random_tensor(random, heads, 44, dim, Order::token_head),
                  k = random_tensor(random, heads, 44, dim, Order::head_token, 3, 0.2f),
                  v = random_tensor(random, heads, 44, dim_v), g = random_tensor(random, heads, 44, 1),
                  beta = random_tensor(random, heads, 44, 1), decay = random_tensor(random, heads, 1, 1);
    Tensors() {
        for (Tensor<float>* gate : {&g, &decay}) gate->each_row([](float* row, auto...) { *row = -std::abs(*row); });
    }
};

/// The batch's outputs and states against calls of its sequences, from states that tokens 30 to 43 have left.
template <auto mechanism, class Inputs, class Part>
void expect_alone(const Inputs& x, const Part& part,
                  const typename attenta::LinearFunction<mechanism>::Options& options) {
    on_every_isa([&](Context& context) {
        Tensor<float> o(heads, 44, dim_v), want(heads, 44, dim_v);
        LinearState past;
        mechanism(part(30, 14), want.view().slice(30, 14), past, options, context);
        StatePool pool(7, StateShape::of(past));
        for (const std::int64_t slot : slots) pool.store(slot, past);
        attenta::linear_sequences<mechanism>(x, o.view(), pool, {starts, std::span(slots).first(5)}, options, context);
        for (std::size_t s = 0; s < 5; ++s) {
            const std::int64_t begin = starts[s], count = starts[s + 1] - begin;
            LinearState state = past, got;
            if (count > 0) mechanism(part(begin, count), want.view().slice(begin, count), state, options, context);
            pool.load(slots[s], got);
            EXPECT_TRUE(same_bits(got.matrix.data(), state.matrix.data(), std::ssize(state.matrix))) << s;
            EXPECT_TRUE(got.normalizer == state.normalizer) << s;
        }
        o.each_row([&](const float* row, std::int64_t h, std::int64_t t) {
            EXPECT_TRUE(same_bits(row, want.row(h, t), dim_v)) << t;
        });
        LinearState untouched;
        pool.load(5, untouched);
        for (const float e : untouched.matrix) ASSERT_EQ(e, 0);
    });
}

TEST(LinearSequences, GiveWhatTheyGiveAlone) {
    const Tensors t;
    const auto of = [](const Tensor<float>& x, std::int64_t begin, std::int64_t count) {
        return Heads<const float>(x.view()).slice(begin, count);
    };
    const auto delta = [&](std::int64_t begin, std::int64_t count) {
        return attenta::GatedDeltaRuleInputs{of(t.q, begin, count), of(t.k, begin, count), of(t.v, begin, count),
                                             of(t.g, begin, count), of(t.beta, begin, count)};
    };
    expect_alone<attenta::gated_delta_rule>(delta(0, 44), delta, {});
    const auto retention = [&](std::int64_t begin, std::int64_t count) {
        return attenta::RetentionInputs{of(t.q, begin, count), of(t.k, begin, count), of(t.v, begin, count),
                                        t.decay.view()};
    };
    expect_alone<attenta::retention>(retention(0, 44), retention, {});
    const auto kernel = [&](std::int64_t begin, std::int64_t count) {
        return attenta::KernelLinearInputs{of(t.q, begin, count), of(t.k, begin, count), of(t.v, begin, count)};
    };
    expect_alone<attenta::kernel_linear>(kernel(0, 44), kernel, {.causal = true});
}

/// A projection as tall as the tokens are many belongs to all sequences; separators and gates are those of tokens.
TEST(LinearSequences, TellTokensFromOtherSizes) {
    constexpr std::int64_t tokens = 6;
    Random random(4);
    const Tensor<float> q = random_tensor(random, heads, tokens, dim), k = random_tensor(random, heads, tokens, dim),
                        v = random_tensor(random, heads, tokens, dim_v),
                        projection = random_tensor(random, heads, tokens, dim), gate(heads, tokens, 1),
                        o(heads, tokens, dim_v), want(heads, tokens, dim_v);
    gate.each_row([&](float* x, auto...) { *x = static_cast<float>(0.1 + 0.8 * random.uniform()); });
    const std::vector<std::int64_t> separator = {0, 1, 0, 0, 1, 0}, begins = {0, 2, 6}, places = {1, 0};
    const attenta::RandomFeatureGatedOptions options{.gate_mode = attenta::SentenceGate::convex};
    const attenta::RandomFeatureGatedInputs x{q.view(), k.view(),    v.view(), projection.view(),
                                              {},       gate.view(), separator};
    StateShape shape;
    for (std::size_t s = 0; s < 2; ++s) {
        const std::int64_t begin = begins[s], count = begins[s + 1] - begin;
        attenta::RandomFeatureGatedInputs part = x;
        for (Heads<const float>* t : {&part.q, &part.k, &part.v, &part.gate}) *t = t->slice(begin, count);
        part.separator = part.separator.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
        LinearState state;
        attenta::random_feature_gated(part, want.view().slice(begin, count), state, options);
        shape = StateShape::of(state);
    }
    StatePool pool(2, shape);
    attenta::linear_sequences<attenta::random_feature_gated>(x, o.view(), pool, {begins, places}, options);
    want.each_row([&](const float* row, std::int64_t h, std::int64_t t) {
        EXPECT_TRUE(same_bits(row, o.row(h, t), dim_v)) << t;
    });
}

TEST(LinearSequences, HaveOptionsOfTheirOwn) {
    const Tensors t;
    std::vector<float> theta(dim / 2, 0.3f);
    const attenta::RetentionInputs x{t.q.view(), t.k.view(), t.v.view(), t.decay.view(), theta};
    const attenta::RetentionOptions options[] = {{.offset = 5}, {.offset = 700}};
    const std::array<std::int64_t, 3> two = {0, 1, 44};
    const std::array<std::int64_t, 2> places = {1, 0};
    Tensor<float> o(heads, 44, dim_v), want(heads, 43, dim_v);
    StatePool pool(2, {heads, dim, dim_v});
    attenta::linear_sequences<attenta::retention>(x, o.view(), pool, {two, places}, options);
    LinearState state;
    attenta::retention(
        {t.q.view().slice(1, 43), t.k.view().slice(1, 43), t.v.view().slice(1, 43), t.decay.view(), theta}, want.view(),
        state, options[1]);
    want.each_row([&](const float* row, std::int64_t h, std::int64_t i) {
        EXPECT_TRUE(same_bits(row, o.row(h, i + 1), dim_v)) << i;
    });
}

TEST(LinearSequencesErrors, SayWhatDoesNotFit) {
    const Tensors t;
    const attenta::GatedDeltaRuleInputs x{t.q.view(), t.k.view(), t.v.view(), t.g.view(), t.beta.view()};
    Tensor<float> o(heads, 44, dim_v);
    StatePool pool(7, {heads, dim, dim_v}), narrow(7, {heads, dim, 8});
    const auto call = [&](const attenta::GatedDeltaRuleInputs& in, StatePool& to, std::vector<std::int64_t> begins,
                          std::vector<std::int64_t> places) {
        return [&, in, begins, places] {
            attenta::linear_sequences<attenta::gated_delta_rule>(in, o.view(), to, {begins, places});
        };
    };
    EXPECT_TRUE(refuses(call(x, pool, {0, 44}, {1, 2}), {"linear_sequences", "2", "starts", "slots"}));
    EXPECT_TRUE(refuses(call(x, pool, {}, {}), {"linear_sequences", "0", "starts"}));
    EXPECT_TRUE(refuses(call(x, pool, {0, 43}, {1}), {"linear_sequences", "43", "44"}));
    EXPECT_TRUE(refuses(call(x, pool, {1, 44}, {1}), {"linear_sequences", "1", "44"}));
    EXPECT_TRUE(refuses(call(x, pool, {0, 20, 10, 44}, {1, 2, 3}), {"linear_sequences", "starts", "10"}));
    EXPECT_TRUE(refuses(call(x, pool, {0, 20, 44}, {1, 7}), {"linear_sequences", "slot", "7"}));
    EXPECT_TRUE(refuses(call(x, pool, {0, 20, 44}, {2, 2}), {"linear_sequences", "slot", "2", "twice"}));
    EXPECT_TRUE(refuses(call(x, narrow, {0, 20, 44}, {2, 1}), {"gated_delta_rule", "state"}));
    attenta::GatedDeltaRuleInputs bad = x;
    bad.k = bad.k.slice(0, 20);
    EXPECT_TRUE(refuses(call(bad, pool, {0, 20, 44}, {2, 1}), {"linear_sequences", "k", "20", "44"}));
    const attenta::GatedDeltaRuleOptions three[3] = {};
    const std::array<std::int64_t, 3> begins = {0, 20, 44};
    const std::array<std::int64_t, 2> places = {2, 1};
    EXPECT_TRUE(refuses(
        [&] {
            attenta::linear_sequences<attenta::gated_delta_rule>(x, o.view(), pool, {begins, places}, three);
        },
        {"linear_sequences", "options", "3", "2"}));
    const float fresh = untouched<float>();
    o.each_row([&](const float* row, auto...) { EXPECT_TRUE(same_bits(row, &fresh, 1)); });
}

}  // namespace
}  // namespace attenta_test
