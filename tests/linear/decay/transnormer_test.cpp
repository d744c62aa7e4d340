// TransNormerLLM's token mixing equals its definition; its own errors.
#include <attenta/linear/decay/transnormer.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "linear/support/naive_lrpe.hpp"
#include "linear/support/spoiled.hpp"

namespace attenta_test {
namespace {

double naive_sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

//   q, k ← silu(q), silu(k), turned by theta;   S_t = exp(g) S_{t-1} + k_t v_tᵀ,   y_t = S_tᵀ q_t
//   o_t = y_t / sqrt(mean over all heads and channels of y_t² + eps) ⊙ gate(u_t)
NaiveLinear naive_transnormer(const attenta::TransnormerInputs& in, const attenta::TransnormerOptions& x,
                              const LinearState& past) {
    const auto& [q, k, v, g, u, theta] = in;
    const bool sigmoid = x.gate_activation == attenta::RowGate::sigmoid, turned = theta.data;
    NaiveLinear r = naive_start(q.heads, q.tokens, q.heads, turned ? 2 * q.dim : q.dim, v.dim, past);
    const auto mapped = [&, &theta = theta](View from, std::int64_t h, std::int64_t t) {
        Row y = naive_row(from, h, from.heads, t);
        if (x.activation == attenta::TransnormerActivation::silu)
            for (double& e : y) e *= naive_sigmoid(e);
        return turned ? naive_turned(y, theta.row(h, 0), x.offset + t) : y;
    };
    for (std::int64_t t = 0; t < q.tokens; ++t) {
        double squares = 0;
        for (std::int64_t h = 0; h < q.heads; ++h) {
            naive_decay(r, h, g, 0);
            naive_add(r, h, mapped(k, h, t), naive_row(v, h, v.heads, t));
            const Row y = naive_read(r, h, mapped(q, h, t));
            std::copy(y.begin(), y.end(), r.o_row(h, t));
            squares += naive_dot(y.data(), y);
        }
        const double norm = std::sqrt(squares / static_cast<double>(q.heads * v.dim) + double{x.eps});
        for (std::int64_t h = 0; h < q.heads; ++h)
            for (std::int64_t e = 0; e < v.dim; ++e) {
                const double gate = u.data ? double{u.row(h, t)[e]} : 1;
                r.o_row(h, t)[e] *= (u.data && sigmoid ? naive_sigmoid(gate) : gate) / norm;
            }
    }
    return r;
}

using Options = attenta::TransnormerOptions;
void put_gate(LinearCase& c) { c.put_normal("u", Along::keys, c.shape.Hv, c.shape.Dv); }
void put_angles(LinearCase& c) { c.put_uniform("theta", Along::nothing, c.shape.Hv, c.shape.D, 0, 1); }

const LinearMechanism& transnormer = test_linear<&attenta::transnormer, naive_transnormer>(
    {.name = "transnormer",
     .variants =
         {{"angles, a gate", [](LinearCase& c) { put_angles(c), put_gate(c); }},
          {"angles far from the origin", [](LinearCase& c) { put_angles(c), options_of<Options>(c).offset = 20011; }},
          {"gated", put_gate},
          {"sigmoid of the gate",
           [](LinearCase& c) { put_gate(c), options_of<Options>(c).gate_activation = attenta::RowGate::sigmoid; }},
          {"no activation, eps 0.1",
           [](LinearCase& c) {
               options_of<Options>(c).activation = attenta::TransnormerActivation::none;
               options_of<Options>(c).eps = 0.1f;
           }}},
     .joins_heads = true});

TEST(TransnormerErrors, HeadsAndOptions) {
    const OwnErrors errors(transnormer);
    EXPECT_TRUE(errors.refused({"k", "1", "2"}, [](Call& c) { c.x.at("k").heads = 1; }));
    EXPECT_TRUE(errors.refused({"v", "1", "2"}, [](Call& c) { c.x.at("v").heads = 1; }));
    EXPECT_TRUE(errors.refused({"g", "1", "2"}, [](Call& c) { c.x.at("g").heads = 1; }));
    EXPECT_TRUE(errors.refused(
        {"u", "23", "24"}, [](Call& c) { c.x.at("u").dim = 23; }, 1));
    EXPECT_TRUE(errors.refused(
        {"theta", "8", "16"}, [](Call& c) { c.x.at("theta").dim = 8; }, 1));
    EXPECT_TRUE(errors.refused({"eps", "-1"}, [](Call& c) { c.options<Options>().eps = -1; }));
    EXPECT_TRUE(
        errors.refused({"eps"}, [](Call& c) { c.options<Options>().eps = std::numeric_limits<float>::quiet_NaN(); }));
    EXPECT_TRUE(errors.refused({"offset", "-1"}, [](Call& c) { c.options<Options>().offset = -1; }));
}

}  // namespace
}  // namespace attenta_test
