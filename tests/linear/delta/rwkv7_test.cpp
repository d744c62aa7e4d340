// RWKV-7 equals its definition.
#include <attenta/linear/delta/rwkv7.hpp>

#include <cmath>
#include <cstdint>

#include "linear/support/mechanism.hpp"

namespace attenta_test {
namespace {

//   S_t = diag(exp g_t) S_{t-1} + b_t (a_tᵀ S_{t-1}) + k_t v_tᵀ,   o_t = scale · S_tᵀ q_t
NaiveLinear naive_rwkv7(const attenta::Rwkv7Inputs& in, const attenta::Rwkv7Options& x, const LinearState& past) {
    const auto& [q, k, v, a, b, g] = in;
    NaiveLinear r = naive_start(q.heads, q.tokens, q.heads, q.dim, v.dim, past);
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            const Row old = naive_read(r, h, naive_row(a, h, q.heads, t));
            naive_decay(r, h, g, t);
            naive_add(r, h, naive_row(b, h, q.heads, t), old);
            naive_add(r, h, naive_row(k, h, q.heads, t), naive_row(v, h, q.heads, t));
            naive_output(r, h, q, t, double{x.scale});
        }
    return r;
}

using Options = attenta::Rwkv7Options;

/// As the model forms a and b: a the negated unit key, b the unit key times a rate for each channel.
void fill(LinearCase& c) {
    const std::int64_t H = c.shape.Hk, D = c.shape.D;
    c.put_normal("k", Along::keys, H, D, 1 / std::sqrt(static_cast<float>(D)));
    c.put_units("a", Along::keys, H, D, -1);
    c.put_uniform("b", Along::keys, H, D, 0.05, 0.95);
    const View a = c.inputs.find("a")->second.tensor.view();
    c.inputs.find("b")->second.tensor.each_row([&](float* row, std::int64_t h, std::int64_t t) {
        for (std::int64_t d = 0; d < D; ++d) row[d] *= -a.row(h, t)[d];
    });
}

const LinearMechanism& rwkv7 = test_linear<&attenta::rwkv7, naive_rwkv7>(
    {"rwkv7",
     {{"scale 0.5", [](LinearCase& c) { options_of<Options>(c).scale = 0.5f; }},
      {"free transition",
       [](LinearCase& c) {
           const float gain = 0.3f / std::sqrt(static_cast<float>(c.shape.D));
           c.put_normal("a", Along::keys, c.shape.Hk, c.shape.D, gain);
           c.put_normal("b", Along::keys, c.shape.Hk, c.shape.D, gain);
       }}},
     fill});

}  // namespace
}  // namespace attenta_test
