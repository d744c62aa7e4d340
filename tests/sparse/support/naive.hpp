// Definitions of sparse attentions in double precision: a set of keys for each head and query, then softmax over it.
#pragma once

#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <numeric>
#include <optional>
#include <vector>

#include "support/naive_softmax.hpp"

namespace attenta_test {

using Keys = std::vector<std::int64_t>;
using View = attenta::Heads<const float>;
inline constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

/// K or V of a contiguous float cache.
inline View k_of(const attenta::KvView& kv) {
    return {
        static_cast<const float*>(kv.k.data), kv.heads, kv.length(0), kv.k.dim, kv.k.head_stride, kv.k.token_stride};
}
inline View v_of(const attenta::KvView& kv) {
    return {
        static_cast<const float*>(kv.v.data), kv.heads, kv.length(0), kv.v.dim, kv.v.head_stride, kv.v.token_stride};
}

inline double naive_dot(const float* a, const float* b, std::int64_t n) {
    double s = 0;
    for (std::int64_t c = 0; c < n; ++c) s += double{a[c]} * double{b[c]};
    return s;
}

inline double naive_scale(const std::optional<float>& scale, std::int64_t dim) {
    return scale ? double{*scale} : 1 / std::sqrt(static_cast<double>(dim));
}

/// first .. last - 1.
inline Keys range(std::int64_t first, std::int64_t last) {
    Keys keys(static_cast<std::size_t>(std::max<std::int64_t>(last - first, 0)));
    std::iota(keys.begin(), keys.end(), first);
    return keys;
}

/// The n best of scores[0 ..], ascending; ties to the lower index, -inf never.
inline Keys best(const std::vector<double>& scores, std::int64_t n) {
    Keys order = range(0, static_cast<std::int64_t>(scores.size()));
    std::erase_if(order, [&](std::int64_t i) { return scores[static_cast<std::size_t>(i)] == minus_infinity; });
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
        return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
    });
    const auto kept = static_cast<std::ptrdiff_t>(std::clamp<std::int64_t>(n, 0, std::ssize(order)));
    order.erase(order.begin() + kept, order.end());
    std::sort(order.begin(), order.end());
    return order;
}

/// One row: softmax over scores, then the sum of values. value(j) is a row of `dim` numbers.
struct NaiveRow {
    std::vector<double> scores;
    std::vector<const float*> values;

    void add(double score, const float* value) {
        scores.push_back(score);
        values.push_back(value);
    }
    /// Writes o and lse of head h, query i.
    void finish(Naive& to, std::int64_t h, std::int64_t i) const {
        double m = minus_infinity, z = 0;
        for (const double s : scores) m = std::max(m, s);
        double* o = to.o_row(h, i);
        std::fill_n(o, to.dim, 0.0);
        if (m > minus_infinity) {
            for (const double s : scores) z += std::exp(s - m);
            for (std::size_t n = 0; n < scores.size(); ++n)
                for (std::int64_t c = 0; c < to.dim; ++c) o[c] += std::exp(scores[n] - m) / z * double{values[n][c]};
        }
        to.lse.data()[h * to.tokens + i] = m > minus_infinity ? m + std::log(z) : m;
    }
};

inline Naive naive_result(View q, const attenta::KvView& kv) {
    return {q.heads, q.tokens, kv.v.dim, std::vector<double>(static_cast<std::size_t>(q.heads * q.tokens * kv.v.dim)),
            std::vector<double>(static_cast<std::size_t>(q.heads * q.tokens), minus_infinity)};
}

/// Exact attention over keys(h, i), i the row of the query.
template <class Set>
Naive naive_over(View q, const attenta::KvView& kv, double scale, Set&& keys) {
    const View k = k_of(kv), v = v_of(kv);
    Naive result = naive_result(q, kv);
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t i = 0; i < q.tokens; ++i) {
            const std::int64_t kv_head = h / (q.heads / k.heads);
            NaiveRow row;
            for (const std::int64_t j : keys(h, i))
                row.add(scale * naive_dot(q.row(h, i), k.row(kv_head, j), q.dim), v.row(kv_head, j));
            row.finish(result, h, i);
        }
    return result;
}

/// The same over keys j with visible(h, i, j), i and j positions.
template <class Visible>
Naive naive_where(View q, const attenta::KvView& kv, double scale, Visible&& visible) {
    const std::int64_t first = kv.length(0) - q.tokens;
    return naive_over(q, kv, scale, [&](std::int64_t h, std::int64_t i) {
        Keys keys;
        for (std::int64_t j = 0; j < kv.length(0); ++j)
            if (visible(h, first + i, j)) keys.push_back(j);
        return keys;
    });
}

}  // namespace attenta_test
