#pragma once

#include <attenta/analysis/projection_kernels.hpp>
#include <attenta/core/flush_to_zero.hpp>
#include <attenta/simd/score_rows.hpp>

#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace analysis {

namespace kernels {

template <class Arch>
void normalize_readout_row(const float* x, std::int64_t n, bool center, float eps, const float* weight,
                           const float* bias, float* to) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    const auto count = static_cast<float>(n);
    const float mean = center ? simd::sum_row<Arch>(x, n, [](B v) ATTENTA_FLATTEN { return v; }) / count : 0.f;
    simd::map_row<Arch>(x, to, n, [mean](B v) ATTENTA_FLATTEN { return v - B(mean); });
    const float squares = simd::sum_products<Arch>(to, to, n) / count;
    simd::scale_row<Arch>(to, n, 1.f / std::sqrt(squares + eps));
    simd::multiply_row<Arch>(to, weight, n);
    if (bias) simd::add_row<Arch>(to, bias, n, 1.f);
}

template <class Arch>
float scaled_distance(const float* x, float factor, const float* y, std::int64_t n) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    B sum(0.f);
    const auto add = [&](B v, B w) ATTENTA_FLATTEN {
        const B d = simd::fma<Arch>(B(factor), v, -w);
        sum = simd::fma<Arch>(d, d, sum);
    };
    std::int64_t i = 0;
    for (; i + L <= n; i += L) add(simd::load<Arch>(x + i), simd::load<Arch>(y + i));
    if (i < n) add(simd::load_part<Arch>(x + i, n - i), simd::load_part<Arch>(y + i, n - i));
    return simd::reduce_add<Arch>(sum);
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(NormalizeRow, normalize_readout_row, &kernels::normalize_readout_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(ScaledDistance, scaled_distance, &kernels::scaled_distance<simd::NativeArch>)

}  // namespace analysis

ATTENTA_END
