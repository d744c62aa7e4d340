#pragma once

#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/softmax/scores/multi_token_kernels.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

ATTENTA_BEGIN

namespace detail::kernels {

template <class Arch>
void convolve_scores(const float* rows, std::int64_t stride, const ScoreKernel& kernel, float* to, std::int64_t n) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const auto sums = [&]<int V>(std::int64_t j, std::integral_constant<int, V>) ATTENTA_FLATTEN {
        B sum[static_cast<std::size_t>(V)];
        simd::unrolled<V>([&](auto v) ATTENTA_FLATTEN { sum[v] = B(0.f); });
        for (std::int64_t a = 0; a < kernel.rows; ++a)
            for (std::int64_t b = 0; b < kernel.columns; ++b) {
                const B weight(kernel.data[a * kernel.stride + b]);
                const float* const x = rows + a * stride + j + b;
                simd::unrolled<V>([&](auto v) ATTENTA_FLATTEN {
                    sum[v] = simd::fma<Arch>(weight, B::load_unaligned(x + v * L), sum[v]);
                });
            }
        simd::unrolled<V>([&](auto v) ATTENTA_FLATTEN {
            const std::int64_t at = j + v * L;
            if (at + L <= n)
                sum[v].store_unaligned(to + at);
            else
                simd::store_part<Arch>(to + at, sum[v], n - at);
        });
    };
    std::int64_t j = 0;
    for (; j + 4 * L <= n; j += 4 * L) sums(j, std::integral_constant<int, 4>{});
    for (; j < n; j += L) sums(j, std::integral_constant<int, 1>{});
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(ConvolveScores, convolve_scores, &kernels::convolve_scores<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
