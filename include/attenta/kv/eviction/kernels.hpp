// What an eviction step does with scores, on SIMD batches.
#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace eviction {

struct Kernels {
    /// s[i] ← exp(s[i] − lse), any n.
    void (*weights)(float* s, std::int64_t n, float lse);
    /// to[i] = factor Σ_r row r [i] of `count` rows of n numbers, `stride` apart, or to[i] + that; `to` may be the first row.
    void (*sum_rows)(const float* rows, std::int64_t stride, std::int64_t count, float factor, bool add, float* to,
                     std::int64_t n);
    /// The slot of the lowest score, and of equal ones of the lowest position, among tokens at positions sink <= p < recent;
    /// -1 where there is none, or some of these scores are NaN.
    std::int64_t (*lowest)(const float* scores, const std::int32_t* positions, std::int64_t n, std::int64_t sink,
                           std::int64_t recent);
    /// to[i] = ‖x − row i‖² of rows [n, dim].
    void (*squared_distances)(const float* x, const float* rows, std::int64_t n, std::int64_t dim, float* to);
    /// to[i] = x · row i of rows [n, dim].
    void (*products)(const float* x, const float* rows, std::int64_t n, std::int64_t dim, float* to);
    /// Adds w / (all − w) times what the distance of x and a value is at least, by their lengths, to each of n numbers:
    /// less than the truth, whatever the rounding. Returns the largest w.
    float (*add_least_errors)(const float* w, float all, float length_of_x, const float* lengths, std::int64_t n,
                              float* to);
};

ATTENTA_DECLARE_KERNEL(Kernels, eviction_kernels)

}  // namespace eviction

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/eviction/kernels.inl>
#endif
