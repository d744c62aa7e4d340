// Mamba-2 equals its definition; its own errors.
#include <attenta/linear/decay/mamba2.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "linear/support/spoiled.hpp"

namespace attenta_test {
namespace {

double naive_softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

//   dt ← clip(softplus(dt + dt_bias), dt_limit)
//   S_t = exp(dt_t A) S_{t-1} + B_t (dt_t x_t)ᵀ,   o_t = S_tᵀ C_t + D x_t;   o ← o ⊙ silu(z)
NaiveLinear naive_mamba2(const attenta::Mamba2Inputs& in, const attenta::Mamba2Options& options,
                         const LinearState& past) {
    const auto& [x, dt, A, B, C, D, z, dt_bias] = in;
    NaiveLinear r = naive_start(x.heads, x.tokens, x.heads, B.dim, x.dim, past);
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t) {
            double step = double{dt.row(h, t)[0]};
            if (!dt_bias.empty()) step += double{dt_bias.data()[h]};
            if (options.dt_softplus) step = naive_softplus(step);
            step = options.dt_limit ? std::clamp(step, double{(*options.dt_limit)[0]}, double{(*options.dt_limit)[1]})
                                    : std::max(step, 0.0);
            Row xt = naive_row(x, h, x.heads, t);
            for (double& e : xt) e *= step;
            naive_multiply(r, h, std::exp(step * double{A.data()[h]}));
            naive_add(r, h, naive_row(B, h, x.heads, t), xt);
            naive_output(r, h, C, t, 1);
            for (std::int64_t e = 0; e < x.dim; ++e) {
                double& o = r.o_row(h, t)[e];
                o += naive_gate(D, h, 0, e) * double{x.row(h, t)[e]};
                if (!z.data) continue;
                const double gate = double{z.row(h, t)[e]};
                o *= gate / (1 + std::exp(-gate));
            }
        }
    return r;
}

using Options = attenta::Mamba2Options;
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

/// dt A is what a gate is elsewhere: about -0.1, -20, far below any float, 0.
void fill(LinearCase& c) {
    const std::int64_t H = c.shape.Hv;
    const float step = c.gates == Gates::mild ? -2.0f : c.gates == Gates::zero ? -200.0f : 3.0f;
    c.put("dt", Along::keys, H, 1, [&] { return step + c.random.normal(); });
    std::vector<float> A = c.random.normals(H);
    for (float& a : A) a = (c.gates == Gates::closed ? -1e5f : c.gates == Gates::strong ? -6.0f : -0.5f) - std::abs(a);
    c.put_array("A", 1, H, A);
}
void put_skip(LinearCase& c) { c.put_normal("D", Along::nothing, c.shape.Hv, c.shape.Dv); }
void put_gate(LinearCase& c) { c.put_normal("z", Along::keys, c.shape.Hv, c.shape.Dv); }
void put_bias(LinearCase& c) {
    std::vector<float> bias = c.random.normals(c.shape.Hv);
    for (float& b : bias) b -= 1;
    c.put_array("dt_bias", 1, c.shape.Hv, bias);
}
void put_everything(LinearCase& c) {
    put_bias(c), put_skip(c), put_gate(c);
    options_of<Options>(c).dt_limit = {{0.01f, 0.5f}};
}

const LinearMechanism& mamba2 = test_linear<&attenta::mamba2, naive_mamba2>(
    {"mamba2",
     {{"a skip per head", [](LinearCase& c) { c.put_normal("D", Along::nothing, c.shape.Hv, 1); }},
      {"a skip per channel", put_skip},
      {"gated", put_gate},
      {"dt_bias", put_bias},
      {"dt_limit",
       [](LinearCase& c) {
           options_of<Options>(c).dt_limit = {{0.001f, 0.1f}};
       }},
      {"dt_limit without an upper end",
       [](LinearCase& c) {
           options_of<Options>(c).dt_limit = {{0.05f, std::numeric_limits<float>::infinity()}};
       }},
      {"no softplus, negative dt",
       [](LinearCase& c) {
           options_of<Options>(c).dt_softplus = false;
           c.put_uniform("dt", Along::keys, c.shape.Hv, 1, -0.1, 0.5);
       }},
      {"everything", put_everything}},
     fill});

TEST(Mamba2Errors, ShapesAndLimits) {
    const OwnErrors errors(mamba2);
    EXPECT_TRUE(errors.refused({"1", "2"}, [](Call& c) { c.x.at("B").heads = 1; }));
    EXPECT_TRUE(errors.refused({"1", "2"}, [](Call& c) { c.x.at("C").heads = 1; }));
    EXPECT_TRUE(errors.refused({"3", "4"}, [](Call& c) { c.x.at("B").heads = c.x.at("C").heads = 3; }));
    EXPECT_TRUE(errors.refused({"15", "16"}, [](Call& c) { c.x.at("B").dim = 15; }));
    EXPECT_TRUE(errors.refused({"15", "16"}, [](Call& c) { c.x.at("C").dim = 15; }));
    EXPECT_TRUE(errors.refused({"dt", "2", "4"}, [](Call& c) { c.x.at("dt").heads = 2; }));
    EXPECT_TRUE(errors.refused({"dt", "2", "1"}, [](Call& c) { c.x.at("dt").dim = 2; }));
    EXPECT_TRUE(errors.refused({"A", "3", "4"}, [](Call& c) { c.x.at("A").dim = 3; }));
    EXPECT_TRUE(errors.refused({"A", "0", "4"}, [](Call& c) { c.x.at("A").dim = 0; }));
    const std::size_t everything = 8;
    EXPECT_TRUE(errors.refused(
        {"dt_bias", "3", "4"}, [](Call& c) { c.x.at("dt_bias").dim = 3; }, everything));
    EXPECT_TRUE(errors.refused(
        {"D", "2", "4"}, [](Call& c) { c.x.at("D").heads = 2; }, everything));
    EXPECT_TRUE(errors.refused(
        {"D", "6", "1"}, [](Call& c) { c.x.at("D").tokens = 6; }, everything));
    EXPECT_TRUE(errors.refused(
        {"D", "23", "24"}, [](Call& c) { c.x.at("D").dim = 23; }, everything));
    EXPECT_TRUE(errors.refused(
        {"z", "2", "4"}, [](Call& c) { c.x.at("z").heads = 2; }, everything));
    EXPECT_TRUE(errors.refused(
        {"z", "23", "24"}, [](Call& c) { c.x.at("z").dim = 23; }, everything));
    EXPECT_TRUE(errors.refused({"dt_limit"}, [](Call& c) { c.options<Options>().dt_limit = {{nan, 1.0f}}; }));
    EXPECT_TRUE(errors.refused({"dt_limit"}, [](Call& c) { c.options<Options>().dt_limit = {{0.0f, nan}}; }));
    EXPECT_TRUE(errors.refused({"dt_limit"}, [](Call& c) { c.options<Options>().dt_limit = {{0.5f, 0.25f}}; }));
}

}  // namespace
}  // namespace attenta_test
