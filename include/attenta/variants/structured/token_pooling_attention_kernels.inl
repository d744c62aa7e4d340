#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/simd/for_vectors.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/variants/structured/token_pooling_attention_kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace structured {

namespace kernels {

template <class Arch>
void softmax_of_maps(float* maps, std::int64_t stride, std::int64_t count, std::int64_t n) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    simd::for_vectors<Arch>(n, [&](auto&& load, auto&& store) ATTENTA_FLATTEN {
        B top = load(maps);
        for (std::int64_t m = 1; m < count; ++m) {
            const B s = load(maps + m * stride);
            top = xsimd::select(s > top, s, top);
        }
        B sum(0.f);
        for (std::int64_t m = 0; m < count; ++m) {
            const B p = simd::exp_nonpositive<Arch>(load(maps + m * stride) - top);
            store(maps + m * stride, p);
            sum = sum + p;
        }
        const B share = simd::divide<Arch>(B(1.f), sum);
        for (std::int64_t m = 0; m < count; ++m) store(maps + m * stride, load(maps + m * stride) * share);
    });
}

/// Sums of three rows, then of three columns: of the nine samples.
template <class Arch>
void mix_pools_row(const PoolMix& m) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    const float* const own = m.x + m.row * m.row_stride;
    simd::for_vectors<Arch>(
        m.width, [&](auto&& load, auto&& store) ATTENTA_FLATTEN { store(m.to, load(m.weights) * load(own)); });
    for (std::int64_t n = 1; n < m.scales; ++n) {
        const float *const above = n <= m.row ? own - n * m.row_stride : nullptr, *const below =
                                                                                      n < m.rows - m.row
                                                                                          ? own + n * m.row_stride
                                                                                          : nullptr;
        simd::for_vectors<Arch>(m.width, [&](auto&& load, auto&& store) ATTENTA_FLATTEN {
            B sum = load(own);
            if (above) sum = sum + load(above);
            if (below) sum = sum + load(below);
            store(m.sums, sum);
        });
        const float* const weights = m.weights + n * m.weight_stride;
        const bool beside = n < m.width;
        simd::for_vectors<Arch>(m.width, [&](auto&& load, auto&& store) ATTENTA_FLATTEN {
            B sum = load(m.sums);
            if (beside) sum = sum + load(m.sums - n) + load(m.sums + n);
            store(m.to, simd::fma<Arch>(load(weights), sum * B(1.f / 9.f), load(m.to)));
        });
    }
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(SoftmaxOfMaps, softmax_of_maps, &kernels::softmax_of_maps<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(PoolMixFunction, mix_pools_row, &kernels::mix_pools_row<simd::NativeArch>)

}  // namespace structured

ATTENTA_END
