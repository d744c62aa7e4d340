// Gated linear attention equals its definition; its own errors.
#include <attenta/linear/decay/gla.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "linear/support/spoiled.hpp"

namespace attenta_test {
namespace {

//   S_t = diag(exp g_t) S_{t-1} diag(exp gv_t) + k_t v_tᵀ,   o_t = scale · S_tᵀ q_t
NaiveLinear naive_gla(const attenta::GlaInputs& in, const attenta::GlaOptions& x, const LinearState& past) {
    const auto& [q, k, v, g, gv] = in;
    const std::int64_t hs = std::max(k.heads, v.heads);
    NaiveLinear r = naive_start(std::max(q.heads, hs), q.tokens, hs, q.dim, v.dim, past);
    for (std::int64_t h = 0; h < hs; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            naive_decay(r, h, g, t);
            for (std::int64_t e = 0; e < v.dim && gv.data; ++e) {
                const double factor = std::exp(naive_gate(gv, h, t, e));
                for (std::int64_t d = 0; d < q.dim; ++d) r.s_row(h, d)[e] *= factor;
            }
            naive_add(r, h, naive_row(k, h, hs, t), naive_row(v, h, hs, t));
            naive_output(r, h, q, t, naive_scale(x.scale, q.dim));
        }
    return r;
}

using Options = attenta::GlaOptions;
const LinearMechanism& gla = test_linear<&attenta::gla, naive_gla>(
    {"gla",
     {{"a gate per token", [](LinearCase& c) { c.put_gates("g", Along::keys, state_heads(c), 1); }},
      {"constant gates", [](LinearCase& c) { c.put_gates("g", Along::nothing, state_heads(c), 1); }},
      {"no gates", [](LinearCase& c) { c.inputs.erase("g"); }},
      {"value gates", [](LinearCase& c) { c.put_gates("gv", Along::keys, state_heads(c), c.shape.Dv); }},
      {"value gates alone",
       [](LinearCase& c) {
           c.inputs.erase("g");
           c.put_gates("gv", Along::keys, state_heads(c), c.shape.Dv);
       }},
      {"value gates, a gate per token",
       [](LinearCase& c) {
           c.put_gates("g", Along::keys, state_heads(c), 1);
           c.put_gates("gv", Along::keys, state_heads(c), c.shape.Dv);
       }},
      {"scale -0.7", [](LinearCase& c) { options_of<Options>(c).scale = -0.7f; }},
      {"scale 0", [](LinearCase& c) { options_of<Options>(c).scale = 0.0f; }}},
     [](LinearCase& c) { c.put_gates("g", Along::keys, state_heads(c), c.shape.D); }});

TEST(GlaErrors, HeadsAndWidths) { expect_errors_of_free_heads(gla); }

TEST(GlaErrors, Gates) {
    const OwnErrors errors(gla);
    EXPECT_TRUE(errors.refused({"g", "1", "2"}, [](Call& c) { c.x.at("g").heads = 1; }));
    EXPECT_TRUE(errors.refused({"g", "4", "2"}, [](Call& c) { c.x.at("g").heads = 4; }));
    EXPECT_TRUE(errors.refused({"g", "15", "16"}, [](Call& c) { c.x.at("g").dim = 15; }));
    EXPECT_TRUE(errors.refused({"g", "1", "6"}, [](Call& c) { c.x.at("g").tokens = 1; }));
    const std::size_t value_gates = 4;
    EXPECT_TRUE(errors.refused(
        {"gv", "1", "2"}, [](Call& c) { c.x.at("gv").heads = 1; }, value_gates));
    EXPECT_TRUE(errors.refused(
        {"gv", "5", "6"}, [](Call& c) { c.x.at("gv").tokens = 5; }, value_gates));
    EXPECT_TRUE(errors.refused(
        {"gv", "1", "24"}, [](Call& c) { c.x.at("gv").dim = 1; }, value_gates));
}

}  // namespace
}  // namespace attenta_test
