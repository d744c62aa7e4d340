// RWKV-6 equals its definition.
#include <attenta/linear/recurrent/rwkv6.hpp>

#include "linear/support/mechanism.hpp"

namespace attenta_test {
namespace {

//   o_t = scale · (S_{t-1} + diag(u) k_t v_tᵀ)ᵀ q_t,   S_t = diag(exp g_t) S_{t-1} + k_t v_tᵀ
NaiveLinear naive_rwkv6(const attenta::Rwkv6Inputs& in, const attenta::Rwkv6Options& x, const LinearState& past) {
    const auto& [q, k, v, g, u] = in;
    NaiveLinear r = naive_start(q.heads, q.tokens, q.heads, q.dim, v.dim, past);
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            const Row kt = naive_row(k, h, q.heads, t), vt = naive_row(v, h, q.heads, t);
            Row bonus = naive_row(q, h, q.heads, t);
            for (std::size_t d = 0; d < kt.size(); ++d) bonus[d] *= double{u.row(h, 0)[d]} * kt[d];
            double own = 0;
            for (const double b : bonus) own += b;
            naive_output(r, h, q, t, double{x.scale});
            for (std::int64_t e = 0; e < v.dim; ++e) r.o_row(h, t)[e] += double{x.scale} * own * vt.data()[e];
            naive_decay(r, h, g, t);
            naive_add(r, h, kt, vt);
        }
    return r;
}

using Options = attenta::Rwkv6Options;
const LinearMechanism& rwkv6 = test_linear<&attenta::rwkv6, naive_rwkv6>(
    {"rwkv6",
     {{"scale 0.25", [](LinearCase& c) { options_of<Options>(c).scale = 0.25f; }},
      {"no bonus", [](LinearCase& c) { change(c, "u", [](float) { return 0.0f; }); }}}});

}  // namespace
}  // namespace attenta_test
