// The README's blocks on latents, rotations and states that go back.
#include <attenta/latent.hpp>
#include <attenta/linear.hpp>
#include <attenta/softmax.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "support/random.hpp"
#include "support/tensor.hpp"

namespace {

using attenta::Heads;
using attenta_test::Random;
using attenta_test::random_tensor;
using attenta_test::Tensor;

}  // namespace

TEST(ReadmeTest, Latent) {
    constexpr std::int64_t heads = 2, tokens = 9, latent = 512, rope = 64, nope = 16, value = 8;
    Random random(1);
    const Tensor<float> c = random_tensor(random, 1, tokens, latent), r = random_tensor(random, 1, tokens, rope),
                        qn = random_tensor(random, heads, 1, nope), qr = random_tensor(random, heads, 1, rope),
                        up_k = random_tensor(random, heads, nope, latent, attenta_test::Order::head_token, 0, 0.04f),
                        up_v = random_tensor(random, heads, value, latent, attenta_test::Order::head_token, 0, 0.04f),
                        out(heads, 1, value);
    const Heads<const float> c_kv = c.view(), k_pe = r.view(), q_nope = qn.view(), q_pe = qr.view(), w_uk = up_k.view(),
                             w_uv = up_v.view();
    const Heads<float> o = out.view();

#include "blocks/latent.inc"

    for (std::int64_t h = 0; h < heads; ++h) {
        std::vector<double> weights;
        double sum = 0;
        for (std::int64_t j = 0; j < tokens; ++j) {
            double s = 0;
            for (std::int64_t d = 0; d < nope; ++d)
                for (std::int64_t e = 0; e < latent; ++e)
                    s += double{q_nope.row(h, 0)[d]} * double{w_uk.row(h, d)[e]} * double{c_kv.row(0, j)[e]};
            for (std::int64_t d = 0; d < rope; ++d) s += double{q_pe.row(h, 0)[d]} * double{k_pe.row(0, j)[d]};
            sum += weights.emplace_back(std::exp(s / std::sqrt(double{nope + rope})));
        }
        for (std::int64_t e = 0; e < value; ++e) {
            double want = 0;
            for (std::int64_t j = 0; j < tokens; ++j)
                for (std::int64_t d = 0; d < latent; ++d)
                    want += weights[static_cast<std::size_t>(j)] / sum * double{w_uv.row(h, e)[d]} *
                            double{c_kv.row(0, j)[d]};
            EXPECT_NEAR(double{o.row(h, 0)[e]}, want, 1e-5);
        }
    }
}

TEST(ReadmeTest, Rope) {
    Random random(2);
    const Tensor<float> keys = random_tensor(random, 2, 3, 128), rotated(2, 3, 128);
    const Heads<const float> k = keys.view();
    const Heads<float> k_rotated = rotated.view();
    const std::vector<std::int64_t> positions = {0, 7, 3000};

#include "blocks/rope.inc"

    // The fastest pair turns by its position, whatever the scaling.
    for (std::int64_t t = 0; t < 3; ++t) {
        const double angle = static_cast<double>(positions[static_cast<std::size_t>(t)]), a = double{k.row(1, t)[0]},
                     b = double{k.row(1, t)[64]};
        EXPECT_NEAR(double{k_rotated.row(1, t)[0]}, a * std::cos(angle) - b * std::sin(angle), 1e-5);
        EXPECT_NEAR(double{k_rotated.row(1, t)[64]}, b * std::cos(angle) + a * std::sin(angle), 1e-5);
    }
}

TEST(ReadmeTest, Snapshots) {
    constexpr std::int64_t heads = 2, tokens = 5, dim = 16;
    Random random(3);
    const Tensor<float> qs = random_tensor(random, heads, tokens, dim), ks = random_tensor(random, heads, tokens, dim),
                        vs = random_tensor(random, heads, tokens, dim), gs = random_tensor(random, heads, tokens, 1),
                        bs = random_tensor(random, heads, tokens, 1), out(heads, tokens, dim);
    gs.each_row([](float* x, std::int64_t, std::int64_t) { *x = -std::abs(*x); });
    const Heads<const float> q = qs.view(), k = ks.view(), v = vs.view(), gates = gs.view(), beta = bs.view();
    const Heads<float> o = out.view();
    attenta::LinearState state;

#include "blocks/snapshots.inc"

    attenta::LinearState accepted;
    const auto first = [](const Heads<const float>& x) { return x.slice(0, 2); };
    attenta::gated_delta_rule({.q = first(q), .k = first(k), .v = first(v), .g = first(gates), .beta = first(beta)},
                              o.slice(0, 2), accepted);
    EXPECT_EQ(state.matrix, accepted.matrix);
}

TEST(ReadmeTest, Serving) {
    constexpr std::int64_t heads = 2, tokens = 5, dim = 16;
    Random random(3);
    const Tensor<float> qs = random_tensor(random, heads, tokens, dim), ks = random_tensor(random, heads, tokens, dim),
                        vs = random_tensor(random, heads, tokens, dim), gs = random_tensor(random, heads, tokens, 1),
                        bs = random_tensor(random, heads, tokens, 1), out(heads, tokens, dim), alone(heads, 4, dim);
    gs.each_row([](float* x, std::int64_t, std::int64_t) { *x = -std::abs(*x); });
    const Heads<const float> q = qs.view(), k = ks.view(), v = vs.view(), gates = gs.view(), beta = bs.view();
    const Heads<float> o = out.view();
    const attenta::LinearState state(heads, dim, dim);

#include "blocks/serving.inc"

    attenta::LinearState second, kept;
    const auto last = [](const Heads<const float>& x) { return x.slice(1, 4); };
    attenta::gated_delta_rule({.q = last(q), .k = last(k), .v = last(v), .g = last(gates), .beta = last(beta)},
                              alone.view(), second);
    pool.load(3, kept);
    EXPECT_EQ(kept.matrix, second.matrix);
    alone.each_row([&](const float* row, std::int64_t h, std::int64_t t) {
        EXPECT_TRUE(std::equal(row, row + dim, o.row(h, t + 1)));
    });
}
