// The gates of KDA and its relatives equal their definition, to the precision of a float; errors.
#include <attenta/linear/delta/kda_gate.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {
namespace {

using attenta::Context;

//   open: −exp(A) softplus(x + bias);   bounded: bound · sigmoid(exp(A) (x + bias))
double naive_gate(double x, double a, std::optional<double> bound) {
    if (bound) return *bound / (1 + std::exp(-std::exp(a) * x));
    return -std::exp(a) * (std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))));
}

struct Gate {
    Tensor<float> x;
    std::vector<float> a, bias;
    std::int64_t heads, dim;

    Gate(std::int64_t H, std::int64_t T, std::int64_t D, Order order)
        : x(H, T, D, order, order == Order::head_token ? 0 : 3), heads(H), dim(D) {
        Random random(7);
        x.each_row([&](float* row, std::int64_t, std::int64_t t) {
            for (std::int64_t d = 0; d < D; ++d) row[d] = random.normal() * (t % 3 == 0 ? 40.f : 2.f);
        });
        a = random.normals(H);
        bias = random.normals(H * D);
    }
    attenta::KdaGateInputs inputs(bool with_a, bool with_bias) const {
        attenta::KdaGateInputs in{x.view()};
        if (with_a) in.A = a;
        if (with_bias) in.bias = attenta::hnd(bias.data(), heads, 1, dim);
        return in;
    }
};

void expect_gate(const Gate& c, bool with_a, bool with_bias, std::optional<float> bound, Context& context) {
    const std::int64_t tokens = c.x.view().tokens;
    Tensor<float> g(c.heads, tokens, c.dim);
    attenta::kda_gate(c.inputs(with_a, with_bias), g.view(), {bound}, context);
    g.each_row([&](float* row, std::int64_t h, std::int64_t t) {
        for (std::int64_t d = 0; d < c.dim; ++d) {
            const float sum = c.x.row(h, t)[d] + (with_bias ? c.bias[static_cast<std::size_t>(h * c.dim + d)] : 0.f);
            const double A = with_a ? double{c.a[static_cast<std::size_t>(h)]} : 0.0,
                         want =
                             naive_gate(double{sum}, A, bound ? std::optional<double>(double{*bound}) : std::nullopt);
            // An exponent that is rounded to a float is an error of the exponential.
            const double exponent = std::max(1.0, std::exp(A)) * std::abs(double{sum});
            ASSERT_NEAR(double{row[d]}, want, 1e-37 + (3e-6 + 1.2e-7 * exponent) * std::abs(want)) << "x " << sum;
            ASSERT_LE(row[d], 0.f);
        }
    });
}

TEST(KdaGate, EqualsItsDefinition) {
    on_every_isa([](Context& context) {
        for (const Order order : {Order::head_token, Order::token_head})
            for (const std::int64_t D : {1, 7, 33, 128}) {
                const Gate c(3, 70, D, order);
                for (const bool with_a : {false, true})
                    for (const bool with_bias : {false, true})
                        for (const std::optional<float> bound : {std::optional<float>(), std::optional(-5.f)})
                            expect_gate(c, with_a, with_bias, bound, context);
            }
    });
}

TEST(KdaGate, AtMinusTheBiasIsHalfTheBound) {
    const float x[] = {-3}, bias[] = {3};
    float g[1];
    attenta::kda_gate({attenta::hnd(x, 1, 1, 1), {}, attenta::hnd(bias, 1, 1, 1)}, attenta::hnd(g, 1, 1, 1), {-5.f});
    EXPECT_EQ(g[0], -2.5f);
}

TEST(KdaGate, NanStaysInItsChannelAndInPlaceIsTheSame) {
    Gate c(2, 5, 19, Order::head_token);
    c.x.row(1, 2)[17] = std::numeric_limits<float>::quiet_NaN();
    on_every_isa([&](Context& context) {
        Tensor<float> g(2, 5, 19), here = converted<float>(c.x.view(), Order::head_token, 0);
        attenta::kda_gate(c.inputs(true, true), g.view(), {}, context);
        attenta::KdaGateInputs in = c.inputs(true, true);
        in.x = here.view();
        attenta::kda_gate(in, here.view(), {}, context);
        g.each_row([&](float* row, std::int64_t h, std::int64_t t) {
            for (std::int64_t d = 0; d < 19; ++d) {
                EXPECT_EQ(std::isnan(row[d]), h == 1 && t == 2 && d == 17);
                if (!std::isnan(row[d])) {
                    EXPECT_EQ(row[d], here.row(h, t)[d]);
                }
            }
        });
    });
}

TEST(KdaGateErrors, ShapesBoundsAndOverlaps) {
    const Gate c(2, 5, 19, Order::head_token);
    Tensor<float> memory(2, 5, 19);
    const auto refused = [&](std::initializer_list<std::string_view> words, auto&& spoil) {
        attenta::KdaGateInputs in = c.inputs(true, true);
        attenta::Heads<float> g = memory.view();
        attenta::KdaGateOptions options;
        spoil(in, g, options);
        const std::vector<float> before = memory.memory();
        const testing::AssertionResult result = refuses([&] { attenta::kda_gate(in, g, options); }, words);
        if (std::memcmp(before.data(), memory.memory().data(), before.size() * sizeof(float)) != 0)
            return testing::AssertionFailure() << "g was written";
        return result;
    };
    EXPECT_TRUE(refused({"kda_gate", "x", "null"}, [](auto& in, auto&, auto&) { in.x.data = nullptr; }));
    EXPECT_TRUE(refused({"kda_gate", "x", "0"}, [](auto& in, auto&, auto&) { in.x.tokens = 0; }));
    EXPECT_TRUE(refused({"kda_gate", "A", "1", "2"}, [](auto& in, auto&, auto&) { in.A = in.A.first(1); }));
    EXPECT_TRUE(refused({"kda_gate", "bias", "18", "19"}, [](auto& in, auto&, auto&) { in.bias.dim = 18; }));
    EXPECT_TRUE(refused({"kda_gate", "bias", "1", "2"}, [](auto& in, auto&, auto&) { in.bias.heads = 1; }));
    EXPECT_TRUE(refused({"kda_gate", "g", "4", "5"}, [](auto&, auto& g, auto&) { g.tokens = 4; }));
    EXPECT_TRUE(refused({"kda_gate", "g", "null"}, [](auto&, auto& g, auto&) { g.data = nullptr; }));
    EXPECT_TRUE(refused({"kda_gate", "g", "x"}, [&](auto& in, auto& g, auto&) { in.x.data = g.data + 1; }));
    EXPECT_TRUE(refused({"kda_gate", "g", "bias"}, [&](auto& in, auto& g, auto&) { in.bias.data = g.data; }));
    for (const float bound :
         {0.f, 1.f, -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
        EXPECT_TRUE(refused({"kda_gate", "bound"}, [&](auto&, auto&, auto& options) { options.bound = bound; }));
}

}  // namespace
}  // namespace attenta_test
