// Mega's attention in double precision.
#pragma once

#include <attenta/variants/scores/mega_attention.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "naive_weights.hpp"

namespace attenta_test {

/// The bias of a key at distance d = j − i, i and j inside the chunk. Only distances count.
inline double naive_mega_bias(const attenta::MegaBias& b, std::int64_t i, std::int64_t j) {
    if (!b.rel_bias.empty()) {
        const auto n = (static_cast<std::int64_t>(b.rel_bias.size()) + 1) / 2;
        return double{b.rel_bias[static_cast<std::size_t>(j - i + n - 1)]};
    }
    const auto dim = static_cast<std::int64_t>(b.bias_q.size());
    if (dim == 0) return 0;
    const auto rotated = [&](std::span<const float> x, std::int64_t at) {
        return naive_rotated(wide(x.data(), dim), static_cast<double>(at), 10000, dim, false);
    };
    return naive_dot(rotated(b.bias_q, i), rotated(b.bias_k, j));
}

inline Naive naive_mega_attention(const attenta::MegaAttentionInputs& x, const attenta::MegaAttentionOptions& o) {
    using attenta::MegaActivation;
    const std::int64_t keys = x.kv.length(0), queries = x.q.tokens,
                       offset = o.visibility.q_offset.value_or(keys - queries);
    const auto products = naive_scores(x, 1);
    const auto visible = naive_visibility(o.visibility, queries, keys);
    const auto chunk_of = [&](std::int64_t position) {
        return o.chunk ? static_cast<std::int64_t>(
                             std::floor(static_cast<double>(position) / static_cast<double>(*o.chunk)))
                       : 0;
    };
    NaiveWeighted weighted{
        .score = products,
        .sees = [&](std::int64_t h, std::int64_t i,
                    std::int64_t j) { return visible(h, i, j) && chunk_of(offset + i) == chunk_of(j); },
        .weigh =
            [&](std::int64_t, std::int64_t i, Row& s) {
                const double seen = count_seen(s);
                const bool softmax = o.activation == MegaActivation::softmax;
                double sum = 0;
                for (std::size_t j = 0; j < s.size(); ++j) {
                    double& w = s[j];
                    if (w == minus_infinity) continue;
                    w = w / (softmax ? std::sqrt(static_cast<double>(x.q.dim)) : seen) +
                        naive_mega_bias(x.bias, offset + i, static_cast<std::int64_t>(j));
                    if (softmax)
                        w = std::exp(w);
                    else if (o.activation == MegaActivation::laplace)
                        w = 0.5 * (1 + std::erf((w - 0.707107) / (0.282095 * std::sqrt(2.0))));
                    else
                        w = std::pow(std::max(w, 0.0), 2);
                    sum += w;
                }
                if (softmax) map_seen(s, [&](double w) { return w / sum; });
            }};
    return weighted(x.q.heads, queries, v_of(x.kv));
}

}  // namespace attenta_test
