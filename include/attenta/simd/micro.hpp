// The register tile: C[rows × vectors] (+)= A · B by broadcast and FMA. Scores and values are both this one kernel,
// without a horizontal sum anywhere.
#pragma once

#include <attenta/simd/arch.hpp>

ATTENTA_BEGIN

namespace simd {

/// What stands in C before the product is added.
enum class Start : std::uint8_t { zero, keep, scale };

/// C[r][n] = start + Σ_k A[r · row_step + k · depth_step] · B[k · b_stride + n lanes], k < depth. With Start::scale,
/// row r of C is multiplied by factor[r] first. Strides of A are compile-time so that its addresses are displacements.
template <class Arch, int Rows, int Vectors, int RowStep, int DepthStep, Start start>
ATTENTA_ALWAYS_INLINE void register_tile(const float* a, const float* b, std::int64_t b_stride, std::int64_t depth,
                                         float* c, std::int64_t c_stride, const float* factor) {
    using B = Batch<Arch>;
    B sum[Rows][Vectors];
    unrolled<Rows>([&](auto r) ATTENTA_FLATTEN {
        unrolled<Vectors>([&](auto n) ATTENTA_FLATTEN {
            if constexpr (start == Start::zero)
                sum[r][n] = B(0.f);
            else
                sum[r][n] = B::load_unaligned(c + r * c_stride + n * lanes<Arch>);
            if constexpr (start == Start::scale) sum[r][n] = sum[r][n] * B(factor[r]);
        });
    });
    for (std::int64_t k = 0; k < depth; ++k) {
        B row[Vectors];
        unrolled<Vectors>([&](auto n) ATTENTA_FLATTEN { row[n] = B::load_unaligned(b + n * lanes<Arch>); });
        unrolled<Rows>([&](auto r) ATTENTA_FLATTEN {
            const B x(a[r * RowStep]);
            unrolled<Vectors>([&](auto n) ATTENTA_FLATTEN { sum[r][n] = fma<Arch>(x, row[n], sum[r][n]); });
            hold_loads();
        });
        a += DepthStep;
        b += b_stride;
    }
    unrolled<Rows>([&](auto r) ATTENTA_FLATTEN {
        unrolled<Vectors>([&](auto n)
                              ATTENTA_FLATTEN { sum[r][n].store_unaligned(c + r * c_stride + n * lanes<Arch>); });
    });
}

}  // namespace simd

ATTENTA_END
