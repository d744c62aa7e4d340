// What examples/coming_from.md says of attenta.
#include <attenta/attenta.hpp>
#include <attenta/linear.hpp>
#include <attenta/softmax.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

using attenta::hnd, attenta::KvView, attenta::SoftmaxOptions;
constexpr float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();

/// o of one-channel queries, keys and values, whose scores are q·k.
struct Small {
    std::vector<float> q, k, v;
    std::vector<float> o = std::vector<float>(q.size()), lse = o;

    void attend(SoftmaxOptions options) {
        options.scale = options.scale.value_or(1.f);
        const auto queries = static_cast<std::int64_t>(q.size()), keys = static_cast<std::int64_t>(k.size());
        attenta::softmax_attention(
            hnd<const float>(q.data(), 1, queries, 1),
            KvView::of(hnd<const float>(k.data(), 1, keys, 1), hnd<const float>(v.data(), 1, keys, 1)),
            hnd(o.data(), 1, queries, 1), options, lse.data());
    }
};

TEST(ComingFrom, CausalIsBottomRightAndTopLeftWithAnOffset) {
    Small s{{0, 0}, {0, 0, 0, 0}, {1, 2, 3, 4}};
    s.attend({.causal = true});
    EXPECT_FLOAT_EQ(s.o[0], 2);  // keys 0, 1, 2
    EXPECT_FLOAT_EQ(s.o[1], 2.5f);
    s.attend({.causal = true, .q_offset = 0});
    EXPECT_FLOAT_EQ(s.o[0], 1);
    EXPECT_FLOAT_EQ(s.o[1], 1.5f);
}

TEST(ComingFrom, AWindowDoesNotCountTheOwnKey) {
    Small s{{0}, {0, 0, 0, 0}, {1, 2, 3, 4}};
    s.attend({.causal = true, .window_left = 2 - 1});  // local_window_size = 2
    EXPECT_FLOAT_EQ(s.o[0], 3.5f);
}

TEST(ComingFrom, TrueIsVisibleAndARowWithoutKeysIsZero) {
    Small s{{0, 0}, {0, 0}, {1, 2}};
    const bool mask[] = {false, true, false, false};
    SoftmaxOptions o;
    o.mask = {mask, 1, 2, 2};
    s.attend(o);
    EXPECT_FLOAT_EQ(s.o[0], 2);
    EXPECT_EQ(s.o[1], 0);
    EXPECT_EQ(s.lse[1], -infinity);
}

TEST(ComingFrom, OnlyMinusInfinityHides) {
    Small s{{0}, {0, 0}, {1, 2}};
    const float lowest[] = {-3.4028235e38f, -3.4028235e38f}, hidden[] = {-infinity, 0};
    SoftmaxOptions o;
    o.bias = {lowest, 1, 1, 2};
    s.attend(o);
    EXPECT_FLOAT_EQ(s.o[0], 1.5f);
    o.bias = {hidden, 1, 1, 2};
    s.attend(o);
    EXPECT_FLOAT_EQ(s.o[0], 2);
}

TEST(ComingFrom, TheCapComesBeforeTheBiasAndNotOverAlibi) {
    Small s{{10}, {1, 0}, {1, 0}};
    const float bias[] = {-3, 0}, slope[] = {4};
    SoftmaxOptions o;
    o.softcap = 2;
    o.bias = {bias, 1, 1, 2};
    s.attend(o);
    const double capped = 2 * std::tanh(10.0 / 2);
    EXPECT_NEAR(double{s.o[0]}, 1 / (1 + std::exp(3 - capped)), 1e-6);
    o.bias = {};
    o.alibi_slopes = slope;
    s.attend(o);  // the first key is one away
    EXPECT_NEAR(double{s.o[0]}, 1 / (1 + std::exp(4 - capped)), 1e-6);
}

TEST(ComingFrom, ZeroIsAScaleAndTheDefaultIsOneOverRootD) {
    Small s{{5}, {1, 0}, {1, 0}};
    s.attend({.scale = 0.f});
    EXPECT_FLOAT_EQ(s.o[0], 0.5f);
    const float q[] = {1, 1, 1, 1}, k[] = {1, 1, 1, 1, 0, 0, 0, 0}, v[] = {1, 0};
    float o = 0;
    attenta::softmax_attention(hnd(q, 1, 1, 4), KvView::of(hnd(k, 1, 2, 4), hnd(v, 1, 2, 1)), hnd(&o, 1, 1, 1));
    EXPECT_NEAR(double{o}, 1 / (1 + std::exp(-4.0 / 2)), 1e-6);
}

TEST(ComingFrom, ASinkIsAFinishedLogitAndLseIsNatural) {
    Small s{{3}, {1}, {1}};
    const float sink[] = {0};
    s.attend({.sink = sink});
    EXPECT_NEAR(double{s.o[0]}, std::exp(3.0) / (std::exp(3.0) + 1), 1e-6);
    EXPECT_NEAR(double{s.lse[0]}, std::log(std::exp(3.0) + 1), 1e-6);
}

TEST(ComingFrom, NanInHiddenKeysStaysThere) {
    Small s{{1, 1}, {0, nan}, {1, nan}};
    s.attend({.causal = true});
    EXPECT_FLOAT_EQ(s.o[0], 1);
    EXPECT_TRUE(std::isnan(s.o[1]));
}

TEST(ComingFrom, QueryHeadsOfAGroupAreNeighbours) {
    const float q[4] = {}, k[2] = {}, v[] = {1, 2};
    float o[4];
    attenta::softmax_attention(hnd(q, 4, 1, 1), KvView::of(hnd(k, 2, 1, 1), hnd(v, 2, 1, 1)), hnd(o, 4, 1, 1));
    EXPECT_EQ(o[0], 1);
    EXPECT_EQ(o[1], 1);
    EXPECT_EQ(o[2], 2);
    EXPECT_EQ(o[3], 2);
}

TEST(ComingFrom, StatesAreKeysByValuesAndGatesAreLogarithms) {
    const float q[] = {1, 0}, k[] = {0, 1}, v[] = {5, 6, 7}, beta[] = {1};
    float o[3];
    attenta::LinearState state(1, 2, 3);
    state.matrix = {1, 2, 3, 0, 0, 0};
    const float half[] = {std::log(0.5f)};
    attenta::gated_delta_rule({.q = hnd(q, 1, 1, 2),
                               .k = hnd(k, 1, 1, 2),
                               .v = hnd(v, 1, 1, 3),
                               .g = hnd(half, 1, 1, 1),
                               .beta = hnd(beta, 1, 1, 1)},
                              hnd(o, 1, 1, 3), state, {.scale = 1});
    EXPECT_NEAR(state.matrix[1], 1, 1e-6f);
    EXPECT_NEAR(state.matrix[5], 7, 1e-6f);
    EXPECT_NEAR(o[2], 1.5f, 1e-6f);
}

TEST(ComingFrom, CausalConvKeepsTheLastInputsOldestFirst) {
    const float x[] = {1, 2, 3, 4}, weight[] = {100, 10, 1};
    float o[4];
    attenta::LinearState window;
    attenta::causal_conv({hnd(x, 1, 4, 1), hnd(weight, 1, 1, 3)}, hnd(o, 1, 4, 1), window);
    EXPECT_FLOAT_EQ(o[3], 234);
    EXPECT_EQ(window.matrix, (std::vector<float>{3, 4}));
}

TEST(ComingFrom, T5HasNoRootOfD) {
    const float q[] = {1, 1, 1, 1}, k[] = {1, 1, 1, 1, 0, 0, 0, 0}, v[] = {1, 0}, bias[4] = {};
    float o = 0;
    attenta::T5BiasOutputs out;
    out.o = hnd(&o, 1, 1, 1);
    attenta::t5_bias({hnd(q, 1, 1, 4), KvView::of(hnd(k, 1, 2, 4), hnd(v, 1, 2, 1)), {bias, 1, 4, 1}}, out,
                     {.bidirectional = true});
    EXPECT_NEAR(double{o}, 1 / (1 + std::exp(-4.0)), 1e-6);
}

}  // namespace
