// Definitions of attentions in double precision: a score for each head, query and key, then softmax over those that are seen.
#pragma once

#include <attenta/softmax/common.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "support/naive_softmax.hpp"

namespace attenta_test {

using attenta::KvView;
using View = attenta::Heads<const float>;
inline constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

/// K or V of a contiguous float cache.
inline View k_of(const KvView& kv) {
    return {
        static_cast<const float*>(kv.k.data), kv.heads, kv.length(0), kv.k.dim, kv.k.head_stride, kv.k.token_stride};
}
inline View v_of(const KvView& kv) {
    return {
        static_cast<const float*>(kv.v.data), kv.heads, kv.length(0), kv.v.dim, kv.v.head_stride, kv.v.token_stride};
}

inline std::vector<double> wide(const float* x, std::int64_t n) { return {x, x + n}; }
inline double naive_dot(const std::vector<double>& a, const std::vector<double>& b) {
    double s = 0;
    for (std::size_t c = 0; c < a.size(); ++c) s += a[c] * b[c];
    return s;
}
inline double naive_scale(const std::optional<float>& scale, std::int64_t dim) {
    return scale ? double{*scale} : 1 / std::sqrt(static_cast<double>(dim));
}

/// base^(−2c/R), and a row turned by position · frequency.
inline std::vector<double> naive_rotated(std::vector<double> x, double position, double base, std::int64_t rotated,
                                         bool interleaved) {
    const std::int64_t pairs = rotated / 2;
    for (std::int64_t c = 0; c < pairs; ++c) {
        const double angle = position * std::pow(base, -2.0 * static_cast<double>(c) / static_cast<double>(rotated));
        double& a = x[static_cast<std::size_t>(interleaved ? 2 * c : c)];
        double& b = x[static_cast<std::size_t>(interleaved ? 2 * c + 1 : c + pairs)];
        const double was = a;
        a = was * std::cos(angle) - b * std::sin(angle);
        b = b * std::cos(angle) + was * std::sin(angle);
    }
    return x;
}

/// x / sqrt(mean x² + eps), of x − mean x where `centred`.
inline std::vector<double> naive_normalised(std::vector<double> x, bool centred, double eps) {
    const auto n = static_cast<double>(x.size());
    double mean = 0, squares = 0;
    for (const double e : x) mean += e / n;
    for (double& e : x) e -= centred ? mean : 0;
    for (const double e : x) squares += e * e / n;
    for (double& e : x) e /= std::sqrt(squares + eps);
    return x;
}

/// The rule of VisibleKeys; `seen` is what visible means.
inline bool naive_sees(const attenta::VisibleKeys& v, std::int64_t head, std::int64_t query, std::int64_t queries,
                       std::int64_t key, std::int64_t keys) {
    const std::int64_t i = query + v.q_offset.value_or(keys - queries), j = key;
    if (v.causal && j > i && j >= v.prefix) return false;
    if (v.window_left >= 0 && j < i - v.window_left) return false;
    if (v.window_right >= 0 && j > i + v.window_right) return false;
    if (!v.segment_q.empty() &&
        v.segment_q[static_cast<std::size_t>(query)] != v.segment_k[static_cast<std::size_t>(key)])
        return false;
    return !v.mask || (key < v.mask.cols && v.mask.row(head, query)[key]);
}

/// softmax over the score(head, query, key) of keys with sees(head, query, key), and over an extra logit extra(head, query) whose
/// value is extra_value(head), or none. Values of head h are those of head h / (heads / v.heads).
struct NaiveAttention {
    std::function<double(std::int64_t, std::int64_t, std::int64_t)> score;
    std::function<bool(std::int64_t, std::int64_t, std::int64_t)> sees;
    std::function<double(std::int64_t, std::int64_t)> extra = {};
    std::function<const float*(std::int64_t)> extra_value = {};

    Naive operator()(std::int64_t heads, std::int64_t queries, const View& v) const {
        Naive r{heads, queries, v.dim, std::vector<double>(static_cast<std::size_t>(heads * queries * v.dim)),
                std::vector<double>(static_cast<std::size_t>(heads * queries))};
        std::vector<double> s(static_cast<std::size_t>(v.tokens) + 1);
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t i = 0; i < queries; ++i) {
                s.back() = extra ? extra(h, i) : minus_infinity;
                for (std::int64_t j = 0; j < v.tokens; ++j)
                    s[static_cast<std::size_t>(j)] = sees(h, i, j) ? score(h, i, j) : minus_infinity;
                const double top = *std::max_element(s.begin(), s.end());
                double& lse = r.lse[static_cast<std::size_t>(h * queries + i)] = top;
                if (top == minus_infinity) continue;
                double sum = 0;
                for (const double x : s) sum += std::exp(x - top);
                lse = top + std::log(sum);
                for (std::int64_t j = 0; j <= v.tokens; ++j) {
                    const double w = std::exp(s[static_cast<std::size_t>(j)] - top) / sum;
                    const float* const row = j < v.tokens  ? v.row(h / (heads / v.heads), j)
                                             : extra_value ? extra_value(h)
                                                           : nullptr;
                    for (std::int64_t c = 0; row && w > 0 && c < v.dim; ++c) r.o_row(h, i)[c] += w * double{row[c]};
                }
            }
        return r;
    }
};

}  // namespace attenta_test
