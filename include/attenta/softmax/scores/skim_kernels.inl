#pragma once

#include <attenta/simd/score_rows.hpp>
#include <attenta/softmax/scores/skim_kernels.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace detail {

template <class Arch>
void sum(const float* const* rows, std::int64_t count, std::int64_t n, float* to) {
    std::copy_n(rows[0], n, to);
    for (std::int64_t r = 1; r < count; ++r) simd::add_row<Arch>(to, rows[r], n, 1.f);
}

template <class Arch>
void hide(const float* x, const bool* seen, std::int64_t n, float* to) {
    // Compilers make vectors of a choice between two loaded numbers.
    for (std::int64_t i = 0; i < n; ++i) to[i] = seen[i] ? x[i] : -std::numeric_limits<float>::infinity();
}

ATTENTA_DEFINE_KERNEL(SumRows, sum_rows, &sum<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(HideKeys, hide_keys, &hide<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
