// Mamba equals its definition; its own errors.
#include <attenta/linear/recurrent/mamba.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "linear/support/spoiled.hpp"

namespace attenta_test {
namespace {

using Options = attenta::MambaOptions;
using attenta::MambaDiscretization;

double naive_softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

//   dt ← softplus(dt + dt_bias)
//   S_t[n,p] = exp(dt[p] A[p,n]) S_{t-1}[n,p] + W B_t[n] x_t[p],   W = dt or (exp(dt A) − 1) / A
//   o_t[p] = Σ_n C_t[n] S_t[n,p] + D[p] x_t[p];   o ← o ⊙ silu(z)
NaiveLinear naive_mamba(const attenta::MambaInputs& in, const Options& options, const LinearState& past) {
    const auto& [x, dt, A, B, C, D, z, dt_bias] = in;
    const bool zoh = options.discretization == MambaDiscretization::zoh;
    NaiveLinear r = naive_start(x.heads, x.tokens, x.heads, B.dim, x.dim, past);
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t) {
            const Row b = naive_row(B, h, x.heads, t), c = naive_row(C, h, x.heads, t);
            for (std::int64_t p = 0; p < x.dim; ++p) {
                const double xp = double{x.row(h, t)[p]};
                double step = double{dt.row(h, t)[p]} + naive_gate(dt_bias, h, 0, p);
                if (options.dt_softplus) step = naive_softplus(step);
                double sum = 0;
                for (std::int64_t n = 0; n < B.dim; ++n) {
                    const double a = double{A.row(h, p)[n]};
                    const double factor = zoh && a != 0 ? std::expm1(step * a) / a : step;
                    double& s = r.s_row(h, n)[p];
                    s = std::exp(step * a) * s + factor * b.data()[n] * xp;
                    sum += c.data()[n] * s;
                }
                sum += naive_gate(D, h, 0, p) * (D.data ? xp : 0);
                const double gate = naive_gate(z, h, t, p);
                r.o_row(h, t)[p] = z.data ? sum * gate / (1 + std::exp(-gate)) : sum;
            }
        }
    return r;
}

template <class F>
void put_table(LinearCase& c, const char* name, std::int64_t rows, std::int64_t columns, F&& number) {
    Tensor<float> x(c.shape.Hv, rows, columns, c.order, c.pad);
    x.each_row([&](float* row, std::int64_t, std::int64_t) {
        for (std::int64_t i = 0; i < columns; ++i) row[i] = number();
    });
    c.inputs.insert_or_assign(name, LinearInput{std::move(x), Along::nothing});
}

/// dt A is what a gate is elsewhere: about -0.1, -20, far below any float, 0.
void fill(LinearCase& c) {
    const float step = c.gates == Gates::mild   ? -2.0f
                       : c.gates == Gates::zero ? -200.0f
                                                : 3.0f,
                least = c.gates == Gates::closed   ? -1e5f
                        : c.gates == Gates::strong ? -6.0f
                                                   : -0.5f;
    c.put("dt", Along::keys, c.shape.Hv, c.shape.Dv, [&] { return step + c.random.normal(); });
    put_table(c, "A", c.shape.Dv, c.shape.D, [&] { return least - std::abs(c.random.normal()); });
    c.put_normal("C", Along::keys, c.shape.Hk, c.shape.D, 1 / std::sqrt(static_cast<float>(c.shape.D)));
}
void put_skip(LinearCase& c) { c.put_normal("D", Along::nothing, c.shape.Hv, c.shape.Dv); }
void put_gate(LinearCase& c) { c.put_normal("z", Along::keys, c.shape.Hv, c.shape.Dv); }
void put_bias(LinearCase& c) {
    c.put("dt_bias", Along::nothing, c.shape.Hv, c.shape.Dv, [&] { return c.random.normal() - 1; });
}
void hold(LinearCase& c) { options_of<Options>(c).discretization = MambaDiscretization::zoh; }
void take_steps_as_they_are(LinearCase& c) {
    options_of<Options>(c).dt_softplus = false;
    c.put_uniform("dt", Along::keys, c.shape.Hv, c.shape.Dv, 0, 0.5);
}

const LinearMechanism& mamba = test_linear<&attenta::mamba, naive_mamba>(
    {.name = "mamba",
     .variants = {{"a skip", put_skip},
                  {"gated", put_gate},
                  {"dt_bias", put_bias},
                  {"zoh", hold},
                  {"no softplus", take_steps_as_they_are},
                  {"zoh, nearly no decay",
                   [](LinearCase& c) {
                       hold(c), take_steps_as_they_are(c);
                       put_table(c, "A", c.shape.Dv, c.shape.D,
                                 [&] { return -static_cast<float>(std::pow(10, c.random.integer(-12, 0))); });
                   }},
                  {"everything", [](LinearCase& c) { put_bias(c), put_skip(c), put_gate(c), hold(c); }}},
     .fill = fill,
     .wide_dim = 1 << 15});

TEST(Mamba, HoldsForASoloStateOfAnyWidth) {
    std::vector<LinearCase> cases;
    for (const std::int64_t N : {1, 3, 4, 15, 16, 17, 128})
        for (const std::int64_t P : {1, 5, 16, 31, 64, 200})
            cases.push_back(linear_case(mamba, {1, 1, 1, 9, N, P}, Gates::mild, 7, N % 2 == 0));
    cases.push_back(linear_case(mamba, {1, 1, 1, 40, 16, 500}, Gates::mild, 7, true));  // blocks take turns
    expect_definition(cases);
}

/// exp(0) = 1 and W = dt.
TEST(Mamba, HoldsWithoutDecayUnderZoh) {
    std::vector<LinearCase> cases;
    cases.push_back(linear_case(mamba, {2, 1, 2, 30, 8, 24}, Gates::mild, 4, true));
    change(cases[0], "A", [](float) { return 0.f; });
    expect_definition(cases);
}

TEST(MambaErrors, ShapesAndGrowth) {
    const OwnErrors errors(mamba);
    const std::size_t everything = 7, plain_steps = 5, held = 4;
    EXPECT_TRUE(errors.refused({"B", "3", "4"}, [](Call& c) { c.x.at("B").heads = c.x.at("C").heads = 3; }));
    EXPECT_TRUE(errors.refused({"C", "1", "2"}, [](Call& c) { c.x.at("C").heads = 1; }));
    EXPECT_TRUE(errors.refused({"B", "15", "16"}, [](Call& c) { c.x.at("B").dim = 15; }));
    EXPECT_TRUE(errors.refused({"A", "23", "24"}, [](Call& c) { c.x.at("A").tokens = 23; }));
    EXPECT_TRUE(errors.refused(
        {"D", "6", "1"}, [](Call& c) { c.x.at("D").tokens = 6; }, everything));
    EXPECT_TRUE(errors.refused(
        {"dt_bias", "23", "24"}, [](Call& c) { c.x.at("dt_bias").dim = 23; }, everything));
    const auto set = [](const char* name, float to) {
        return [=](Call& c) {
            c.options<Options>().check_data = true;
            change(c.c, name, [=](float) { return to; });
        };
    };
    EXPECT_TRUE(errors.refused({"A", "0.000000"}, set("A", 0)));
    EXPECT_TRUE(errors.refused({"A", "0.500000"}, set("A", 0.5f), held));
    EXPECT_TRUE(errors.refused({"dt", "dt_softplus"}, set("dt", -0.125f), plain_steps));
}

}  // namespace
}  // namespace attenta_test
