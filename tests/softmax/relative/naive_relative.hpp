// Definitions of scores with relative positions.
#pragma once

#include <cstdint>

#include "softmax/support/mechanism.hpp"

namespace attenta_test {

/// softmax over score(h, i, j, d), d = j − i by positions, of queries [heads, queries] and a cache's or a tensor's keys.
template <class Score>
Naive naive_relative(const View& q, const View& k, const View& v, const attenta::VisibleKeys& seen, Score&& score) {
    const std::int64_t queries = q.tokens, keys = k.tokens, offset = seen.q_offset.value_or(keys - queries);
    return NaiveAttention{
        .score = [&](std::int64_t h, std::int64_t i, std::int64_t j) { return score(h, i, j, j - i - offset); },
        .sees = [&](std::int64_t h, std::int64_t i,
                    std::int64_t j) { return naive_sees(seen, h, i, queries, j, keys); }}(q.heads, queries, v);
}

/// The row of a head of q among those of x, whose heads divide q's.
inline std::vector<double> row_of(const View& x, std::int64_t head, std::int64_t heads, std::int64_t t) {
    return wide(x.row(head / (heads / x.heads), t), x.dim);
}
inline std::vector<double> plus(std::vector<double> a, const std::vector<double>& b) {
    for (std::size_t c = 0; c < a.size(); ++c) a[c] += b[c];
    return a;
}

}  // namespace attenta_test
