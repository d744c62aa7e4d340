// One number of the query heads of a K/V head.
#pragma once

#include <attenta/kv/eviction/policy.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace eviction {

/// to[i] = mean, sum or maximum of rows[h][i] over `heads` rows of `stride`; `to` may be the first row.
inline void combine_heads(const float* rows, std::int64_t stride, std::int64_t heads, std::int64_t n, GroupScore how,
                          float* to) {
    std::copy_n(rows, n, to);
    for (std::int64_t h = 1; h < heads; ++h) {
        const float* const row = rows + h * stride;
        if (how == GroupScore::max)
            for (std::int64_t i = 0; i < n; ++i) to[i] = std::max(to[i], row[i]);
        else
            for (std::int64_t i = 0; i < n; ++i) to[i] += row[i];
    }
    const float share = 1.f / static_cast<float>(heads);
    for (std::int64_t i = 0; how == GroupScore::mean && heads > 1 && i < n; ++i) to[i] *= share;
}

}  // namespace eviction

ATTENTA_END
