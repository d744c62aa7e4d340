// Linear attentions that correct what the state predicts: delta_rule, gated_delta_rule, kda, rwkv7.
#pragma once

#include <attenta/linear/delta_rule.hpp>
#include <attenta/linear/gated_delta_rule.hpp>
#include <attenta/linear/kda.hpp>
#include <attenta/linear/rwkv7.hpp>

#include "naive_linear.hpp"

namespace attenta_test {

/// x / sqrt(Σ x² + eps)
inline Row naive_unit(Row x, double eps) {
    const double norm = std::sqrt(naive_dot(x.data(), x) + eps);
    for (double& e : x) e /= norm;
    return x;
}

//   S ← diag(exp g_t) S_{t-1};   S_t = S + β_t k_t (v_t − Sᵀ k_t)ᵀ;   o_t = scale · S_tᵀ q_t
//
// g is empty for delta_rule, [Hs, T, 1] for gated_delta_rule and [Hs, T, D] for kda.
template <class Options>
NaiveLinear naive_delta(View q, View k, View v, View g, View beta, const attenta::LinearState& past, const Options& x) {
    const std::int64_t hs = std::max(k.heads, v.heads);
    NaiveLinear r = naive_start(std::max(q.heads, hs), q.tokens, hs, q.dim, v.dim, past);
    const auto normed = [&](Row row) { return x.qk_l2norm ? naive_unit(std::move(row), double{x.eps}) : row; };
    for (std::int64_t h = 0; h < hs; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            naive_decay(r, h, g, t);
            const Row kt = normed(naive_row(k, h, hs, t)), predicted = naive_read(r, h, kt);
            Row correction = naive_row(v, h, hs, t);
            for (std::size_t e = 0; e < correction.size(); ++e)
                correction[e] = double{beta.row(h, t)[0]} * (correction[e] - predicted[e]);
            naive_add(r, h, kt, correction);
            for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i) {
                const Row y = naive_read(r, h, normed(naive_row(q, i, r.heads, t)));
                for (std::int64_t e = 0; e < v.dim; ++e) r.o_row(i, t)[e] = naive_scale(x.scale, q.dim) * y.data()[e];
            }
        }
    return r;
}

//   S_t = diag(exp g_t) S_{t-1} + b_t (a_tᵀ S_{t-1}) + k_t v_tᵀ,   o_t = scale · S_tᵀ q_t
inline NaiveLinear naive_rwkv7(View q, View k, View v, View a, View b, View g, const attenta::LinearState& past,
                               const attenta::Rwkv7Options& x) {
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

}  // namespace attenta_test
