// Linear attentions through features of queries and keys: kernel_linear, performer.
#pragma once

#include <attenta/linear/kernel_linear.hpp>
#include <attenta/linear/performer.hpp>

#include <limits>
#include <numbers>

#include "naive_linear.hpp"

namespace attenta_test {

//   S = Σ φ(k_j) v_jᵀ,  z = Σ φ(k_j)  over the keys seen;   o_i = divide(S^T φ(q_i), z·φ(q_i))
//
// Causal: query i sees keys 0 .. Tk − Tq + i, else all. phi_q(head, i) and phi_k(head, j) give rows of `features`;
// divide(num, den) changes num in place.
template <class PhiQ, class PhiK, class Divide>
NaiveLinear naive_feature_attention(View q, View k, View v, std::int64_t features, bool causal,
                                    const attenta::LinearState& past, PhiQ&& phi_q, PhiK&& phi_k, Divide&& divide) {
    NaiveLinear r = naive_start(q.heads, q.tokens, k.heads, features, v.dim, past);
    r.normalizer = naive_past(past.normalizer, k.heads * features);
    for (std::int64_t h = 0; h < k.heads; ++h) {
        std::int64_t seen = 0;
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            for (; seen < (causal ? k.tokens - q.tokens + t + 1 : k.tokens); ++seen) {
                const Row phi = phi_k(h, seen);
                naive_add(r, h, phi, naive_row(v, h, k.heads, seen));
                for (std::int64_t f = 0; f < features; ++f) r.z_row(h)[f] += phi.data()[f];
            }
            for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i) {
                const Row phi = phi_q(i, t);
                Row num = naive_read(r, h, phi);
                divide(num, naive_dot(r.z_row(h), phi));
                std::copy(num.begin(), num.end(), r.o_row(i, t));
            }
        }
    }
    return r;
}

inline Row naive_kernel_feature(Row x, std::int64_t position, double length, attenta::KernelFeature feature) {
    using attenta::KernelFeature;
    const std::size_t D = x.size();
    const double largest = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (const double e : x) sum += std::exp(e - largest);
    for (double& e : x) switch (feature) {
            case KernelFeature::elu1:
                e = e > 0 ? e + 1 : std::exp(e);
                break;
            case KernelFeature::relu:
                e = std::max(e, 0.0);
                break;
            case KernelFeature::squared_relu:
                e = std::max(e, 0.0) * std::max(e, 0.0);
                break;
            case KernelFeature::exp:
                e = std::exp(e);
                break;
            case KernelFeature::identity:
                break;
            case KernelFeature::softmax:
                e = std::exp(e - largest) / sum;
                break;
            case KernelFeature::cos:
                e = std::max(e, 0.0);
                break;
        }
    if (feature != KernelFeature::cos) return x;
    const double angle = std::numbers::pi / 2 * static_cast<double>(position + 1) / length;
    x.resize(2 * D);
    for (std::size_t d = 0; d < D; ++d) x[D + d] = x[d] * std::sin(angle), x[d] *= std::cos(angle);
    return x;
}

//   num_i = scale · φ(q_i) S,   den_i = scale · φ(q_i)·z,   o_i = num_i,  num_i / (den_i + eps)  or  num_i / max(den_i, eps)
inline NaiveLinear naive_kernel_linear(View q, View k, View v, const attenta::LinearState& past,
                                       const attenta::KernelLinearOptions& x) {
    const auto length = static_cast<double>(x.cos_max_len.value_or(std::max(q.tokens, k.tokens)));
    const std::int64_t first = x.offset + (x.causal ? k.tokens - q.tokens : 0);
    return naive_feature_attention(
        q, k, v, x.feature == attenta::KernelFeature::cos ? 2 * q.dim : q.dim, x.causal, past,
        [&](std::int64_t h, std::int64_t i) {
            Row phi = naive_kernel_feature(naive_row(q, h, q.heads, i), first + i, length, x.feature);
            for (double& e : phi) e *= double{x.scale};
            return phi;
        },
        [&](std::int64_t h, std::int64_t j) {
            return naive_kernel_feature(naive_row(k, h, k.heads, j), x.offset + j, length, x.feature);
        },
        [&](Row& num, double den) {
            const double eps = double{x.eps};
            den = !x.normalize ? 1 : x.denominator == attenta::KernelDenominator::add ? den + eps : std::max(den, eps);
            for (double& e : num) e /= den;
        });
}

/// c w_m·x for all m, and c²|x|²/2.
struct NaiveProjected {
    Row w;
    double half_norm;
};

inline NaiveProjected naive_projected(const Row& x, attenta::Matrices<const float> projection, double c) {
    NaiveProjected p{Row(static_cast<std::size_t>(projection.rows)), c * c * naive_dot(x.data(), x) / 2};
    for (std::int64_t m = 0; m < projection.rows; ++m)
        for (std::int64_t d = 0; d < projection.cols; ++d)
            p.w.data()[m] += c * double{projection.row(0, m)[d]} * x.data()[d];
    return p;
}

/// K: given, else that of the past, else the largest c w_m·k_j of the head.
inline std::vector<double> naive_key_max(View k, attenta::Matrices<const float> projection, double c,
                                         const attenta::LinearState& past, const attenta::PerformerOptions& x) {
    if (!x.key_max.empty()) return {x.key_max.begin(), x.key_max.end()};
    if (!past.empty()) return {past.key_max.begin(), past.key_max.end()};
    std::vector<double> largest(static_cast<std::size_t>(k.heads), -std::numeric_limits<double>::infinity());
    for (std::int64_t h = 0; h < k.heads; ++h)
        for (std::int64_t j = 0; j < k.tokens; ++j)
            for (const double w : naive_projected(naive_row(k, h, k.heads, j), projection, c).w)
                largest.data()[h] = std::max(largest.data()[h], w);
    return largest;
}

//   softmax:  φ(q)_m = r (exp(c w_m·q − c²|q|²/2 − max_m' c w_m'·q) + eps),  φ(k)_m = r (exp(c w_m·k − c²|k|²/2 − K) + eps)
//   relu:     φ(x)_m = relu(r c w_m·x) + eps
//   o_i = S^T φ(q_i) / (den_i + 2 δ [|den_i| <= δ])
inline NaiveLinear naive_performer(View q, View k, View v, attenta::Matrices<const float> projection,
                                   const attenta::LinearState& past, const attenta::PerformerOptions& x) {
    const bool softmax = x.kernel == attenta::PerformerKernel::softmax;
    const double c = x.normalize_data.value_or(softmax) ? std::pow(static_cast<double>(q.dim), -0.25) : 1;
    const double ratio = x.ratio ? 1 / std::sqrt(static_cast<double>(projection.rows)) : 1;
    const double eps = double{x.eps.value_or(softmax ? 1e-6f : 1e-3f)}, delta = double{x.denominator_stabilizer};
    std::vector<double> K;
    if (softmax) K = naive_key_max(k, projection, c, past, x);
    const auto features = [&](const Row& row, const double* key_max) {
        NaiveProjected p = naive_projected(row, projection, c);
        const double shift = key_max ? *key_max : *std::max_element(p.w.begin(), p.w.end());
        for (double& w : p.w)
            w = softmax ? ratio * (std::exp(w - p.half_norm - shift) + eps) : std::max(ratio * w, 0.0) + eps;
        return p.w;
    };
    NaiveLinear r = naive_feature_attention(
        q, k, v, projection.rows, x.causal, past,
        [&](std::int64_t h, std::int64_t i) { return features(naive_row(q, h, q.heads, i), nullptr); },
        [&](std::int64_t h, std::int64_t j) {
            return features(naive_row(k, h, k.heads, j), softmax ? K.data() + h : nullptr);
        },
        [&](Row& num, double den) {
            for (double& e : num) e /= den + (std::abs(den) <= delta ? 2 * delta : 0);
        });
    r.key_max = K;
    return r;
}

}  // namespace attenta_test
