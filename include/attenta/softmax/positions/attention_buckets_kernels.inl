#pragma once

#include <attenta/simd/score_rows.hpp>
#include <attenta/softmax/positions/attention_buckets_kernels.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace detail {

template <class Arch>
void mix(const float* x, std::int64_t stride, std::int64_t rows, const float* weight, std::int64_t n, float* to) {
    std::fill_n(to, n, 0.f);
    for (std::int64_t r = 0; r < rows; ++r) simd::add_row<Arch>(to, x + r * stride, n, weight[r]);
}

ATTENTA_DEFINE_KERNEL(LargestOf, largest_of, &simd::row_max<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(MixRows, mix_rows, &mix<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
