// Attention weights and scores of doubles, and the inputs of calibrations.
#pragma once

#include <attenta/core/kv_view.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "analysis/support/readout.hpp"

namespace attenta_test {

using View = attenta::Heads<const float>;

/// Scores of a row with the keys that it sees, their log-sum-exp and weights.
struct NaiveRow {
    std::vector<double> scores, weights;
    double lse = 0;
};

inline double dot(const float* x, const float* y, std::int64_t n) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += double{x[i]} * double{y[i]};
    return sum;
}

inline NaiveRow naive_row(const View& q, const View& k, std::int64_t head, std::int64_t query, bool causal,
                          std::optional<float> scale) {
    NaiveRow row;
    const double factor = scale ? double{*scale} : 1 / std::sqrt(static_cast<double>(q.dim));
    const std::int64_t seen = causal ? k.tokens - q.tokens + query + 1 : k.tokens;
    for (std::int64_t j = 0; j < seen; ++j)
        row.scores.push_back(factor * dot(q.row(head, query), k.row(head / (q.heads / k.heads), j), q.dim));
    const double top = *std::max_element(row.scores.begin(), row.scores.end());
    double sum = 0;
    for (const double s : row.scores) sum += std::exp(s - top);
    row.lse = top + std::log(sum);
    for (const double s : row.scores) row.weights.push_back(std::exp(s - row.lse));
    return row;
}

/// Keys and values of a cache that tests give to calibrations.
struct NaiveCache {
    View k, v;

    attenta::KvView view() const { return attenta::KvView::of(k, v); }
};

inline NaiveCache draw_cache(Memory& memory, std::int64_t heads, std::int64_t tokens, std::int64_t dim,
                             std::int64_t dim_v) {
    return {memory.heads(heads, tokens, dim), memory.heads(heads, tokens, dim_v)};
}

/// Σ_j weights_j v_j of a row of query head `head`, appended.
inline void append_output(std::vector<double>& to, const std::vector<double>& weights, const View& v, std::int64_t head,
                          std::int64_t query_heads) {
    for (std::int64_t c = 0; c < v.dim; ++c) {
        double sum = 0;
        for (std::size_t j = 0; j < weights.size(); ++j)
            sum += weights[j] * double{v.row(head / (query_heads / v.heads), static_cast<std::int64_t>(j))[c]};
        to.push_back(sum);
    }
}

/// The weights of a row and zeros for the keys that it does not see, appended.
inline void append_weights(std::vector<double>& to, const std::vector<double>& weights, std::int64_t keys) {
    to.insert(to.end(), weights.begin(), weights.end());
    to.insert(to.end(), static_cast<std::size_t>(keys) - weights.size(), 0.0);
}

struct AttentionShape {
    std::int64_t query_heads, heads, queries, keys, dim, dim_v;
};
inline const std::vector<AttentionShape>& attention_shapes() {
    static const std::vector<AttentionShape> all = {
        {1, 1, 1, 1, 1, 1}, {4, 2, 1, 29, 8, 6}, {3, 3, 5, 37, 12, 9}, {6, 2, 33, 33, 16, 17}, {2, 1, 70, 300, 20, 5}};
    return all;
}

}  // namespace attenta_test
