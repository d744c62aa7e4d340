// Linear attentions whose state decays and grows by k vᵀ: gla, hgrn2, rwkv6, lightning, retention, mamba2.
#pragma once

#include <attenta/linear/gla.hpp>
#include <attenta/linear/hgrn2.hpp>
#include <attenta/linear/lightning.hpp>
#include <attenta/linear/mamba2.hpp>
#include <attenta/linear/retention.hpp>
#include <attenta/linear/rwkv6.hpp>

#include "naive_linear.hpp"

namespace attenta_test {

//   S_t = diag(exp g_t) S_{t-1} diag(exp gv_t) + k_t v_tᵀ,   o_t = scale · S_tᵀ q_t
inline NaiveLinear naive_gla(View q, View k, View v, View g, const attenta::LinearState& past,
                             const attenta::GlaOptions& x) {
    const std::int64_t hs = std::max(k.heads, v.heads);
    NaiveLinear r = naive_start(std::max(q.heads, hs), q.tokens, hs, q.dim, v.dim, past);
    for (std::int64_t h = 0; h < hs; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            naive_decay(r, h, g, t);
            for (std::int64_t e = 0; e < v.dim && x.gv.data; ++e) {
                const double factor = std::exp(naive_gate(x.gv, h, t, e));
                for (std::int64_t d = 0; d < q.dim; ++d) r.s_row(h, d)[e] *= factor;
            }
            naive_add(r, h, naive_row(k, h, hs, t), naive_row(v, h, hs, t));
            naive_output(r, h, q, t, naive_scale(x.scale, q.dim));
        }
    return r;
}

//   S_t = diag(exp g_t) S_{t-1} + (1 − exp g_t) v_tᵀ,   o_t = scale · S_tᵀ q_t
inline NaiveLinear naive_hgrn2(View q, View v, View g, const attenta::LinearState& past,
                               const attenta::Hgrn2Options& x) {
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

//   o_t = scale · (S_{t-1} + diag(u) k_t v_tᵀ)ᵀ q_t,   S_t = diag(exp g_t) S_{t-1} + k_t v_tᵀ
inline NaiveLinear naive_rwkv6(View q, View k, View v, View g, View u, const attenta::LinearState& past,
                               const attenta::Rwkv6Options& x) {
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

/// ALiBi's slopes; for H not a power of two those of the power below, then every second one of the power above.
inline std::vector<double> naive_geometric(std::int64_t H) {
    std::int64_t n = 1;
    while (2 * n <= H) n *= 2;
    std::vector<double> s;
    for (std::int64_t i = 1; i <= n; ++i)
        s.push_back(std::exp2(-8.0 * static_cast<double>(i) / static_cast<double>(n)));
    for (std::int64_t i = 1; static_cast<std::int64_t>(s.size()) < H; i += 2)
        s.push_back(std::exp2(-8.0 * static_cast<double>(i) / static_cast<double>(2 * n)));
    return s;
}

//   geometric: −s_h (1 − layer/(num_layers−1) + 1e-5),   linear: −(8h/H)(1 − layer/num_layers)
inline std::vector<double> naive_lightning_decay(std::int64_t H, const attenta::LightningOptions& x) {
    const bool geometric = x.slopes == attenta::LightningSlopes::geometric;
    const auto layer = static_cast<double>(x.layer), layers = static_cast<double>(x.num_layers.value_or(0));
    const double factor = !x.num_layers ? 1 : geometric ? 1 - layer / (layers - 1) + 1e-5 : 1 - layer / layers;
    std::vector<double> g = naive_geometric(H);
    for (std::int64_t h = 0; h < H && !geometric; ++h)
        g.data()[h] = 8 * static_cast<double>(h) / static_cast<double>(H);
    for (double& e : g) e *= -factor;
    return g;
}

/// The given g [h, 1, 1], else `otherwise`.
inline std::vector<double> naive_head_decay(View g, std::vector<double> otherwise) {
    if (!g.data) return otherwise;
    std::vector<double> x;
    for (std::int64_t h = 0; h < g.heads; ++h) x.push_back(double{g.row(h, 0)[0]});
    return x;
}

//   S_t = λ S_{t-1} + k_t v_tᵀ,   o_t = scale · S_tᵀ q_t,   λ = exp(g) per head
inline NaiveLinear naive_lightning(View q, View k, View v, View g, const attenta::LinearState& past,
                                   const attenta::LightningOptions& x) {
    const std::int64_t most = std::max({q.heads, k.heads, v.heads});
    const std::vector<double> decay = naive_head_decay(g, naive_lightning_decay(most, x));
    const std::int64_t hs = std::max({k.heads, v.heads, static_cast<std::int64_t>(decay.size())});
    NaiveLinear r = naive_start(std::max(q.heads, hs), q.tokens, hs, q.dim, v.dim, past);
    for (std::int64_t h = 0; h < hs; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            naive_multiply(r, h, std::exp(decay.data()[h]));
            naive_add(r, h, naive_row(k, h, hs, t), naive_row(v, h, hs, t));
            naive_output(r, h, q, t, double{x.scale});
        }
    return r;
}

/// Pairs (2i, 2i + 1) turned by theta_i · position.
inline Row naive_rotated(Row x, std::span<const float> theta, std::int64_t position) {
    for (std::size_t i = 0; i < theta.size(); ++i) {
        const double angle = double{theta[i]} * static_cast<double>(position), even = x[2 * i], odd = x[2 * i + 1];
        x[2 * i] = even * std::cos(angle) - odd * std::sin(angle);
        x[2 * i + 1] = odd * std::cos(angle) + even * std::sin(angle);
    }
    return x;
}

inline std::vector<double> naive_retention_decay(std::int64_t H) {
    std::vector<double> g;
    for (std::int64_t h = 0; h < H; ++h) g.push_back(std::log1p(-std::exp2(-5.0 - static_cast<double>(h))));
    return g;
}

//   q, k rotated;  S_t = γ S_{t-1} + scale · k_t v_tᵀ,  n_t = γ n_{t-1} + 1,  z_t = γ z_{t-1} + scale · k_t,  γ = exp(g)
//   o_t = S_tᵀ q_t / d_t,   d_t = 1,  sqrt(n_t)  or  sqrt(n_t) · max(|q_t·z_t| / sqrt(n_t), 1)
inline NaiveLinear naive_retention(View q, View k, View v, View g, const attenta::LinearState& past,
                                   const attenta::RetentionOptions& x) {
    using attenta::RetentionNorm;
    const std::int64_t most = std::max({q.heads, k.heads, v.heads});
    const std::vector<double> decay = naive_head_decay(g, naive_retention_decay(most));
    const std::int64_t hs = std::max({k.heads, v.heads, static_cast<std::int64_t>(decay.size())});
    NaiveLinear r = naive_start(std::max(q.heads, hs), q.tokens, hs, q.dim, v.dim, past);
    std::vector<double> n = naive_past(past.weight, hs), z = naive_past(past.normalizer, hs * q.dim);
    for (std::int64_t h = 0; h < hs; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            const double gamma = std::exp(decay.data()[h]);
            Row kt = naive_rotated(naive_row(k, h, hs, t), x.theta, x.offset + t);
            for (double& e : kt) e *= naive_scale(x.scale, q.dim);
            naive_multiply(r, h, gamma);
            for (std::int64_t d = 0; d < q.dim; ++d)
                z.data()[h * q.dim + d] = gamma * z.data()[h * q.dim + d] + kt.data()[d];
            naive_add(r, h, kt, naive_row(v, h, hs, t));
            const double root = std::sqrt(n.data()[h] = gamma * n.data()[h] + 1);
            for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i) {
                const Row qt = naive_rotated(naive_row(q, i, r.heads, t), x.theta, x.offset + t),
                          y = naive_read(r, h, qt);
                const double sum = std::abs(naive_dot(z.data() + h * q.dim, qt));
                const double divisor = x.score_norm == RetentionNorm::none    ? 1
                                       : x.score_norm == RetentionNorm::decay ? root
                                                                              : root * std::max(sum / root, 1.0);
                for (std::int64_t e = 0; e < v.dim; ++e) r.o_row(i, t)[e] = y.data()[e] / divisor;
            }
        }
    if (x.score_norm != RetentionNorm::none) r.weight = n;
    if (x.score_norm == RetentionNorm::full) r.normalizer = z;
    return r;
}

inline double naive_softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

//   dt ← clip(softplus(dt + dt_bias), dt_limit)
//   S_t = exp(dt_t A) S_{t-1} + B_t (dt_t x_t)ᵀ,   o_t = S_tᵀ C_t + D x_t;   o ← o ⊙ silu(z)
inline NaiveLinear naive_mamba2(View x, View dt, std::span<const float> A, View B, View C,
                                const attenta::LinearState& past, const attenta::Mamba2Options& options) {
    NaiveLinear r = naive_start(x.heads, x.tokens, x.heads, B.dim, x.dim, past);
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t) {
            double step = double{dt.row(h, t)[0]};
            if (!options.dt_bias.empty()) step += double{options.dt_bias.data()[h]};
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
                o += naive_gate(options.D, h, 0, e) * double{x.row(h, t)[e]};
                if (!options.z.data) continue;
                const double z = double{options.z.row(h, t)[e]};
                o *= z / (1 + std::exp(-z));
            }
        }
    return r;
}

}  // namespace attenta_test
