// lanes × lanes transposition in registers, and of rows in memory by it.
#pragma once

#include <attenta/simd/vector.hpp>

ATTENTA_BEGIN

namespace simd {

#if defined(ATTENTA_AVX512)
template <class Arch>
ATTENTA_ALWAYS_INLINE void transpose(Batch<Arch> (&rows)[16]) {
    // Within groups of four rows: 4 × 4 blocks of the 128-bit quarters.
    __m512 t[16];
    unrolled<4>([&](auto g) ATTENTA_FLATTEN {
        const __m512 ab_low = _mm512_unpacklo_ps(rows[4 * g], rows[4 * g + 1]);
        const __m512 ab_high = _mm512_unpackhi_ps(rows[4 * g], rows[4 * g + 1]);
        const __m512 cd_low = _mm512_unpacklo_ps(rows[4 * g + 2], rows[4 * g + 3]);
        const __m512 cd_high = _mm512_unpackhi_ps(rows[4 * g + 2], rows[4 * g + 3]);
        t[4 * g] = _mm512_shuffle_ps(ab_low, cd_low, 0x44);
        t[4 * g + 1] = _mm512_shuffle_ps(ab_low, cd_low, 0xee);
        t[4 * g + 2] = _mm512_shuffle_ps(ab_high, cd_high, 0x44);
        t[4 * g + 3] = _mm512_shuffle_ps(ab_high, cd_high, 0xee);
    });
    // Then the quarters among the groups: t[4 g + c] holds column 4 q + c of rows 4 g .. 4 g + 3 in its quarter q.
    unrolled<4>([&](auto c) ATTENTA_FLATTEN {
        const __m512 low_ab = _mm512_shuffle_f32x4(t[c], t[4 + c], 0x88),
                     high_ab = _mm512_shuffle_f32x4(t[c], t[4 + c], 0xdd);
        const __m512 low_cd = _mm512_shuffle_f32x4(t[8 + c], t[12 + c], 0x88),
                     high_cd = _mm512_shuffle_f32x4(t[8 + c], t[12 + c], 0xdd);
        rows[c] = _mm512_shuffle_f32x4(low_ab, low_cd, 0x88);
        rows[8 + c] = _mm512_shuffle_f32x4(low_ab, low_cd, 0xdd);
        rows[4 + c] = _mm512_shuffle_f32x4(high_ab, high_cd, 0x88);
        rows[12 + c] = _mm512_shuffle_f32x4(high_ab, high_cd, 0xdd);
    });
}
#elif defined(ATTENTA_AVX2)
template <class Arch>
ATTENTA_ALWAYS_INLINE void transpose(Batch<Arch> (&rows)[8]) {
    __m256 t[8];
    unrolled<2>([&](auto g) ATTENTA_FLATTEN {
        const __m256 ab_low = _mm256_unpacklo_ps(rows[4 * g], rows[4 * g + 1]),
                     ab_high = _mm256_unpackhi_ps(rows[4 * g], rows[4 * g + 1]);
        const __m256 cd_low = _mm256_unpacklo_ps(rows[4 * g + 2], rows[4 * g + 3]),
                     cd_high = _mm256_unpackhi_ps(rows[4 * g + 2], rows[4 * g + 3]);
        t[4 * g] = _mm256_shuffle_ps(ab_low, cd_low, 0x44);
        t[4 * g + 1] = _mm256_shuffle_ps(ab_low, cd_low, 0xee);
        t[4 * g + 2] = _mm256_shuffle_ps(ab_high, cd_high, 0x44);
        t[4 * g + 3] = _mm256_shuffle_ps(ab_high, cd_high, 0xee);
    });
    unrolled<4>([&](auto c) ATTENTA_FLATTEN {
        rows[c] = _mm256_permute2f128_ps(t[c], t[4 + c], 0x20);
        rows[4 + c] = _mm256_permute2f128_ps(t[c], t[4 + c], 0x31);
    });
}
#elif defined(ATTENTA_NEON64)
template <class Arch>
ATTENTA_ALWAYS_INLINE void transpose(Batch<Arch> (&rows)[4]) {
    const float32x4_t ab_low = vzip1q_f32(rows[0], rows[1]), ab_high = vzip2q_f32(rows[0], rows[1]);
    const float32x4_t cd_low = vzip1q_f32(rows[2], rows[3]), cd_high = vzip2q_f32(rows[2], rows[3]);
    rows[0] = vcombine_f32(vget_low_f32(ab_low), vget_low_f32(cd_low));
    rows[1] = vcombine_f32(vget_high_f32(ab_low), vget_high_f32(cd_low));
    rows[2] = vcombine_f32(vget_low_f32(ab_high), vget_low_f32(cd_high));
    rows[3] = vcombine_f32(vget_high_f32(ab_high), vget_high_f32(cd_high));
}
#else
template <class Arch>
ATTENTA_ALWAYS_INLINE void transpose(Batch<Arch> (&rows)[4]) {
    const __m128 ab_low = _mm_unpacklo_ps(rows[0], rows[1]), ab_high = _mm_unpackhi_ps(rows[0], rows[1]);
    const __m128 cd_low = _mm_unpacklo_ps(rows[2], rows[3]), cd_high = _mm_unpackhi_ps(rows[2], rows[3]);
    rows[0] = _mm_movelh_ps(ab_low, cd_low);
    rows[1] = _mm_movehl_ps(cd_low, ab_low);
    rows[2] = _mm_movelh_ps(ab_high, cd_high);
    rows[3] = _mm_movehl_ps(cd_high, ab_high);
}
#endif

/// y[j][i] = x[i][j] in blocks of whole vectors: both are read and written up to the next multiple of lanes.
template <class Arch>
void transpose_rows(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t columns, float* y,
                    std::int64_t y_stride) {
    constexpr int L = static_cast<int>(lanes<Arch>);
    for (std::int64_t i = 0; i < rows; i += L)
        for (std::int64_t j = 0; j < columns; j += L) {
            Batch<Arch> block[static_cast<std::size_t>(L)];
            unrolled<L>([&](auto u) ATTENTA_FLATTEN { block[u] = load<Arch>(x + (i + u) * x_stride + j); });
            transpose<Arch>(block);
            unrolled<L>([&](auto u) ATTENTA_FLATTEN { block[u].store_unaligned(y + (j + u) * y_stride + i); });
        }
}

}  // namespace simd

ATTENTA_END
