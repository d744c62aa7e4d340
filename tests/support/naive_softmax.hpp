// Softmax attention in double precision, straight from the equations.
//
//   s_ij = scale · q_i·k_j;  cap · tanh(s / cap);  + bias_ij − slope_h · |i − j|;  −inf where j is not visible
//   m = max(s_ij, sink),  z = Σ_j exp(s_ij − m) + exp(sink − m),  o_i = Σ_j exp(s_ij − m) / z · v_j,  lse_i = m + ln z
//
// i and j are positions: query row t stands at t + q_offset, key row t at t or at positions[t].
#pragma once

#include <attenta/softmax/softmax.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace attenta_test {

/// A query and a key: the head, the numbers of their rows, their positions.
struct Pair {
    std::int64_t head, query, key, i, j;
};

/// What the reference cannot read from the options.
struct NaiveExtras {
    std::function<bool(const Pair&)> visible;           ///< the meaning of options.visible
    std::function<double(double, const Pair&)> edited;  ///< the meaning of options.edits
    const std::int32_t* positions = nullptr;            ///< of the keys
};

struct Naive {
    std::int64_t heads, tokens, dim;
    std::vector<double> o, lse;

    double* o_row(std::int64_t h, std::int64_t t) { return o.data() + (h * tokens + t) * dim; }
    const double* o_row(std::int64_t h, std::int64_t t) const { return o.data() + (h * tokens + t) * dim; }
};

inline bool naive_visible(const Pair& p, const attenta::SoftmaxOptions& x, const NaiveExtras& extras) {
    if (x.causal && p.j > p.i && p.j >= x.prefix) return false;
    if (x.window_left >= 0 && p.i - p.j > x.window_left) return false;
    if (x.window_right >= 0 && p.j - p.i > x.window_right) return false;
    if (!x.segment_q.empty() && x.segment_q.data()[p.query] != x.segment_k.data()[p.key]) return false;
    if (x.mask && (p.key >= x.mask.cols || !x.mask.row(p.head, p.query)[p.key])) return false;
    return !extras.visible || extras.visible(p);
}

/// Keys behind the last column of a bias are hidden.
inline double naive_bias(const attenta::FloatMatrices& bias, const Pair& p) {
    if (p.key >= bias.cols) return -std::numeric_limits<double>::infinity();
    const void* row = bias.row(p.head, p.query);
    if (bias.dtype == attenta::Dtype::f32) return double{static_cast<const float*>(row)[p.key]};
    if (bias.dtype == attenta::Dtype::f16)
        return double{static_cast<float>(static_cast<const attenta::float16*>(row)[p.key])};
    return double{static_cast<float>(static_cast<const attenta::bfloat16*>(row)[p.key])};
}

inline double naive_score(const Pair& p, const float* q, const float* k, std::int64_t dim,
                          const attenta::SoftmaxOptions& x, const NaiveExtras& extras) {
    double s = 0;
    for (std::int64_t c = 0; c < dim; ++c) s += double{q[c]} * double{k[c]};
    s *= x.scale ? double{*x.scale} : 1 / std::sqrt(static_cast<double>(dim));
    if (x.softcap > 0) s = double{x.softcap} * std::tanh(s / double{x.softcap});
    if (x.bias) s += naive_bias(x.bias, p);
    if (!x.alibi_slopes.empty()) s -= double{x.alibi_slopes.data()[p.head]} * static_cast<double>(std::abs(p.i - p.j));
    return extras.edited ? extras.edited(s, p) : s;
}

inline Naive naive_softmax(attenta::Heads<const float> q, attenta::Heads<const float> k, attenta::Heads<const float> v,
                           const attenta::SoftmaxOptions& x, const NaiveExtras& extras = {}) {
    constexpr double inf = std::numeric_limits<double>::infinity();
    Naive r{q.heads, q.tokens, v.dim, std::vector<double>(static_cast<std::size_t>(q.heads * q.tokens * v.dim)),
            std::vector<double>(static_cast<std::size_t>(q.heads * q.tokens))};
    std::vector<double> logits(static_cast<std::size_t>(k.tokens));
    for (std::int64_t h = 0; h < q.heads; ++h) {
        const std::int64_t kv_head = h / (q.heads / k.heads);
        const double sink = x.sink.empty() ? -inf : double{x.sink.data()[h]};
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            double m = sink;
            double* s = logits.data();
            for (std::int64_t j = 0; j < k.tokens; ++j) {
                const Pair p{h, t, j, t + x.q_offset.value_or(k.tokens - q.tokens),
                             extras.positions ? extras.positions[j] : j};
                s[j] = naive_visible(p, x, extras) ? naive_score(p, q.row(h, t), k.row(kv_head, j), q.dim, x, extras)
                                                   : -inf;
                m = std::max(m, s[j]);
            }
            double& lse = r.lse.data()[h * q.tokens + t] = m;
            if (m == -inf) continue;  // sees nothing: o = 0, lse = -inf
            double z = std::exp(sink - m);
            for (std::int64_t j = 0; j < k.tokens; ++j) z += std::exp(s[j] - m);
            for (std::int64_t j = 0; j < k.tokens; ++j) {
                const double w = std::exp(s[j] - m) / z;
                for (std::int64_t c = 0; c < v.dim && w > 0; ++c) r.o_row(h, t)[c] += w * double{v.row(kv_head, j)[c]};
            }
            lse = m + std::log(z);
            const attenta::Heads<const float>& gate = x.output_gate;
            for (std::int64_t c = 0; c < v.dim && gate.data; ++c)
                r.o_row(h, t)[c] /= 1 + std::exp(-double{gate.row(h, t)[gate.dim == 1 ? 0 : c]});
        }
    }
    return r;
}

}  // namespace attenta_test
