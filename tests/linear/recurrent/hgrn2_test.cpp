#include <attenta/linear/recurrent/hgrn2.hpp>

#include "linear/support/mechanism.hpp"

namespace attenta_test {
//   S_t = diag(exp g_t) S_{t-1} + (1 − exp g_t) v_tᵀ,   o_t = scale · S_tᵀ q_t
NaiveLinear naive_hgrn2(const attenta::Hgrn2Inputs& in, const attenta::Hgrn2Options& x, const LinearState& past) {
    const auto& [q, v, g] = in;
    NaiveLinear r = naive_start(q.heads, q.tokens, q.heads, q.dim, v.dim, past);
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            Row k = naive_row(g, h, q.heads, t);
            for (double& e : k) e = -std::expm1(e);
            naive_decay(r, h, g, t);
            naive_add(r, h, k, naive_row(v, h, q.heads, t));
            naive_output(r, h, q, t, double{x.scale});
        }
    return r;
}

const LinearMechanism& hgrn2 = test_linear<&attenta::hgrn2, naive_hgrn2>(
    {"hgrn2",
     {{"scale -0.5", [](LinearCase& c) { options_of<attenta::Hgrn2Options>(c).scale = -0.5f; }},
      {"keys that 1 - exp g would lose, scale 100", [](LinearCase& c) {
           options_of<attenta::Hgrn2Options>(c).scale = 100;
           change(c, "g", [](float g) { return std::max(1e-5f * g, -1e-5f); });
       }}}});

}  // namespace attenta_test
