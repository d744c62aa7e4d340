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

template <class Arch>
void output_gate_row(float* o, std::int64_t n, const float* gate, const float* bias, bool one) {
    using B = simd::Batch<Arch>;
    if (one) {
        const B factor = simd::sigmoid<Arch>(B(gate[0] + bias[0]));
        return simd::map_row<Arch>(o, o, n, [&](B x) ATTENTA_FLATTEN { return x * factor; });
    }
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t i = 0;
    for (; i + L <= n; i += L)
        (simd::load<Arch>(o + i) * simd::sigmoid<Arch>(simd::load<Arch>(gate + i) + simd::load<Arch>(bias + i)))
            .store_unaligned(o + i);
    if (i < n)
        simd::store_part<Arch>(
            o + i,
            simd::load_part<Arch>(o + i, n - i) *
                simd::sigmoid<Arch>(simd::load_part<Arch>(gate + i, n - i) + simd::load_part<Arch>(bias + i, n - i)),
            n - i);
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(ConvolveScores, convolve_scores, &kernels::convolve_scores<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(OutputGateRow, output_gate_row, &kernels::output_gate_row<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
