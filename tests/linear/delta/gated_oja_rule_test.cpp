// The gated Oja rule equals its definition; its own errors.
#include <attenta/linear/delta/gated_oja_rule.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "linear/support/naive_delta.hpp"

namespace attenta_test {
namespace {

//   S ← S_{t-1} diag(exp gv_t);   S_t = S + β_t (k_t − S v_t) v_tᵀ;   o_t = scale · S_tᵀ q_t
NaiveLinear naive_oja(const attenta::GatedOjaRuleInputs& in, const attenta::GatedOjaRuleOptions& x,
                      const LinearState& past) {
    const auto& [q, k, v, beta, gv] = in;
    const std::int64_t hs = std::max(k.heads, v.heads);
    NaiveLinear r = naive_start(std::max(q.heads, hs), q.tokens, hs, q.dim, v.dim, past);
    for (std::int64_t h = 0; h < hs; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            Row added = naive_row(k, h, hs, t);
            if (x.qk_l2norm) added = naive_unit(std::move(added), double{x.eps});
            const Row vt = naive_row(v, h, hs, t);
            for (std::int64_t d = 0; d < r.dim; ++d) {
                for (std::int64_t e = 0; e < r.dim_v; ++e) r.s_row(h, d)[e] *= std::exp(naive_gate(gv, h, t, e));
                added.data()[d] = double{beta.row(h, t)[0]} * (added.data()[d] - naive_dot(r.s_row(h, d), vt));
            }
            naive_add(r, h, added, vt);
            naive_read_heads(r, h, q, t, x);
        }
    return r;
}

using Options = attenta::GatedOjaRuleOptions;

/// Values of length 1, so that the state does not grow.
void fill(LinearCase& c) {
    c.put_units("v", Along::keys, c.shape.Hv, c.shape.Dv);
    c.put_uniform("beta", Along::keys, state_heads(c), 1, 0.05, 0.95);
}

void put_gates(LinearCase& c) { c.put_gates("gv", Along::keys, state_heads(c), c.shape.Dv); }

const LinearMechanism& gated_oja_rule = test_linear<&attenta::gated_oja_rule, naive_oja>(
    {.name = "gated_oja_rule",
     .variants = {{"gates", put_gates},
                  {"gates, scale -1.5",
                   [](LinearCase& c) {
                       put_gates(c);
                       options_of<Options>(c).scale = -1.5f;
                   }},
                  {"gates, qk_l2norm",
                   [](LinearCase& c) {
                       put_gates(c);
                       options_of<Options>(c).qk_l2norm = true;
                       c.put_normal("k", Along::keys, c.shape.Hk, c.shape.D, 3);
                   }},
                  {"beta up to 1.9",
                   [](LinearCase& c) { c.put_uniform("beta", Along::keys, state_heads(c), 1, 0.1, 1.9); }}},
     .fill = fill,
     .wide_tokens = 200});

TEST(GatedOjaRuleErrors, HeadsWidthsGatesAndEps) {
    const OwnErrors errors(gated_oja_rule);
    expect_errors_of_free_heads(gated_oja_rule);
    EXPECT_TRUE(errors.refused({"beta", "1", "2"}, [](Call& c) { c.x.at("beta").heads = 1; }));
    EXPECT_TRUE(errors.refused(
        {"gv", "1", "24"}, [](Call& c) { c.x.at("gv").dim = 1; }, 1));
    EXPECT_TRUE(errors.refused(
        {"gv", "5", "6"}, [](Call& c) { c.x.at("gv").tokens = 5; }, 1));
    for (const float eps : {-1.f, std::numeric_limits<float>::quiet_NaN()})
        EXPECT_TRUE(errors.refused({"eps"}, [eps](Call& c) { c.options<Options>().eps = eps; })) << eps;
}

}  // namespace
}  // namespace attenta_test
