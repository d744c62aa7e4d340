// One number of the query heads of a K/V head.
#pragma once

#include <attenta/kv/eviction/kernels.hpp>
#include <attenta/kv/eviction/policy.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace eviction {

/// to[i] = mean, sum or maximum of rows[h][i] over `heads` rows of `stride`; `to` may be the first row.
inline void combine_heads(const float* rows, std::int64_t stride, std::int64_t heads, std::int64_t n, GroupScore how,
                          float* to) {
    if (how != GroupScore::max) {
        const float share = how == GroupScore::mean ? 1.f / static_cast<float>(heads) : 1.f;
        return eviction_kernels().sum_rows(rows, stride, heads, share, false, to, n);
    }
    std::copy_n(rows, n, to);
    for (std::int64_t h = 1; h < heads; ++h)
        for (std::int64_t i = 0; i < n; ++i) to[i] = std::max(to[i], rows[h * stride + i]);
}

}  // namespace eviction

ATTENTA_END
