// Rows of codes become floats (core/row_codes.hpp).
#pragma once

#include <attenta/core/kv_view.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

ATTENTA_BEGIN

namespace simd {

/// Codes of `lanes` channels: Bits of each byte, from bit Shift on.
template <class Arch, int Bits, int Shift>
ATTENTA_ALWAYS_INLINE Batch<Arch> load_codes(const std::byte* p) {
    constexpr int mask = (1 << Bits) - 1;
#if defined(ATTENTA_AVX512)
    __m512i x = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    if constexpr (Shift > 0) x = _mm512_srli_epi32(x, Shift);
    if constexpr (Bits + Shift < 8) x = _mm512_and_si512(x, _mm512_set1_epi32(mask));
    return _mm512_cvtepi32_ps(x);
#elif defined(ATTENTA_AVX2)
    __m256i x = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    if constexpr (Shift > 0) x = _mm256_srli_epi32(x, Shift);
    if constexpr (Bits + Shift < 8) x = _mm256_and_si256(x, _mm256_set1_epi32(mask));
    return _mm256_cvtepi32_ps(x);
#elif defined(ATTENTA_NEON64)
    std::uint32_t four;
    std::memcpy(&four, p, sizeof four);
    uint32x4_t x = vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four))));
    if constexpr (Shift > 0) x = vshrq_n_u32(x, Shift);
    if constexpr (Bits + Shift < 8) x = vandq_u32(x, vdupq_n_u32(mask));
    return vcvtq_f32_u32(x);
#else
    std::int32_t four;
    std::memcpy(&four, p, sizeof four);
    const __m128i zero = _mm_setzero_si128();
    __m128i x = _mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(four), zero), zero);
    if constexpr (Shift > 0) x = _mm_srli_epi32(x, Shift);
    if constexpr (Bits + Shift < 8) x = _mm_and_si128(x, _mm_set1_epi32(mask));
    return _mm_cvtepi32_ps(x);
#endif
}

/// A row of codes, scales(c, i, scale, offset) giving those of the i-th vector from channel c on. Writes whole pieces.
template <class Arch, int Bits, class Scales>
ATTENTA_ALWAYS_INLINE void widen_codes(const std::byte* row, std::int64_t dim, float* to, Scales&& scales) {
    constexpr std::int64_t L = lanes<Arch>, piece = RowCodes::piece;
    constexpr int pieces = 8 / Bits;
    for (std::int64_t c = 0; c < dim; row += piece)
        unrolled<pieces>([&](auto n) ATTENTA_FLATTEN {
            if (c >= dim) return;
            unrolled<static_cast<int>(piece / L)>([&](auto i) ATTENTA_FLATTEN {
                const Batch<Arch> x = load_codes<Arch, Bits, Bits * n>(row + i * L);
                Batch<Arch> scale, offset;
                scales(c, i, scale, offset);
                fma<Arch>(x, scale, offset).store_unaligned(to + c + i * L);
            });
            c += piece;
        });
}

/// The same, with what the row has of scales. `expanded` holds two rows of whole pieces.
template <class Arch, int Bits>
ATTENTA_ALWAYS_INLINE void widen_codes(const RowCodes& codes, const std::byte* row, std::int64_t dim, float* to,
                                       float* expanded) {
    constexpr std::int64_t L = lanes<Arch>;
    const std::byte* const behind = row + codes.code_bytes(dim);
    const auto by_channel = [&](const float* scales, const float* offsets) ATTENTA_FLATTEN {
        widen_codes<Arch, Bits>(row, dim, to,
                                [&](std::int64_t c, int i, Batch<Arch>& scale, Batch<Arch>& offset) ATTENTA_FLATTEN {
                                    scale = load<Arch>(scales + c + i * L);
                                    offset = load<Arch>(offsets + c + i * L);
                                });
    };
    const std::int64_t padded = (dim + RowCodes::piece - 1) / RowCodes::piece * RowCodes::piece;
    if (codes.group == 0) {
        std::int32_t distance;
        std::memcpy(&distance, behind, sizeof distance);
        const auto* const block = reinterpret_cast<const float*>(row - distance);
        return by_channel(block, block + padded);
    }
    const auto* const scales = reinterpret_cast<const float*>(behind);
    const std::int64_t groups = codes.groups(dim);
    if (groups == 1) {
        const Batch<Arch> of_row(scales[0]), offset_of_row(scales[1]);
        return widen_codes<Arch, Bits>(row, dim, to,
                                       [&](std::int64_t, int, Batch<Arch>& scale, Batch<Arch>& offset) ATTENTA_FLATTEN {
                                           scale = of_row;
                                           offset = offset_of_row;
                                       });
    }
    for (std::int64_t g = 0; g < groups; ++g) {
        std::fill_n(expanded + g * codes.group, codes.group, scales[g]);
        std::fill_n(expanded + padded + g * codes.group, codes.group, scales[groups + g]);
    }
    by_channel(expanded, expanded + padded);
}

/// n rows, which lie `offset` bytes behind rows[i], of a side of a cache; to[i · stride], whole pieces of 16 channels. Keys
/// and values of a step of the loops, so that products read L1.
template <class Arch>
[[gnu::noinline]] void widen_codes(const KvView::Rows& side, const std::byte* const* rows, std::int64_t offset,
                                   std::int64_t n, float* to, std::int64_t stride, float* expanded) {
    const auto all = [&]<int Bits>(std::integral_constant<int, Bits>) ATTENTA_FLATTEN {
        for (std::int64_t i = 0; i < n; ++i)
            widen_codes<Arch, Bits>(side.codes, rows[i] + offset, side.dim, to + i * stride, expanded);
    };
    switch (side.codes.bits) {
        case 8:
            return all(std::integral_constant<int, 8>{});
        case 4:
            return all(std::integral_constant<int, 4>{});
        default:
            return all(std::integral_constant<int, 2>{});
    }
}

}  // namespace simd

ATTENTA_END
