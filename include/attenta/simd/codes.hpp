// Rows of codes become floats (core/row_codes.hpp), and keys that are tied to their values one row.
#pragma once

#include <attenta/core/kv_view.hpp>
#include <attenta/simd/pack.hpp>
#include <attenta/simd/prefetch.hpp>
#include <attenta/simd/score_rows.hpp>
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

/// Codes of 8 bits as the elements of a row, without scale and offset. Rows can be read in whole vectors.
enum class Code8 : std::uint8_t {};
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> load(const Code8* p) {
    return load_codes<Arch, 8, 0>(reinterpret_cast<const std::byte*>(p));
}
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> load_part(const Code8* p, std::int64_t) {
    return load<Arch>(p);
}

/// The offset of group g of a row's `groups`, whose scales stand at `scales`.
template <int Bits>
ATTENTA_ALWAYS_INLINE float offset_of_group(const float* scales, std::int64_t groups, std::int64_t g,
                                            bool signed_codes) {
    constexpr auto middle = static_cast<float>(1 << (Bits - 1));
    return signed_codes ? -middle * scales[g] : scales[groups + g];
}

/// What makes numbers of a row's codes, where it is the same for all of them.
struct RowScale {
    float scale, offset;

    static bool is_of(const KvView::Rows& side) {
        return side.dtype == Dtype::codes && side.codes.bits == 8 && side.codes.group == side.dim;
    }
    static ATTENTA_ALWAYS_INLINE RowScale of(const KvView::Rows& side, const std::byte* row) {
        const auto* const scales = reinterpret_cast<const float*>(row + side.codes.code_bytes(side.dim));
        return {scales[0], offset_of_group<8>(scales, 1, 0, side.codes.signed_codes)};
    }
};

/// Rows of codes on their way to floats: what is the same for all rows of a side.
template <class Arch, int Bits>
class CodeWidener {
    using B = Batch<Arch>;
    static constexpr std::int64_t L = lanes<Arch>, piece = RowCodes::piece;
    static constexpr int pieces = 8 / Bits, vectors = static_cast<int>(piece / L);

public:
    explicit CodeWidener(const KvView::Rows& side)
        : dim_(side.dim),
          group_(side.codes.group),
          groups_(side.codes.groups(side.dim)),
          code_bytes_(side.codes.code_bytes(side.dim)),
          padded_((side.dim + piece - 1) / piece * piece),
          signed_(side.codes.signed_codes) {}

    /// One row; `expanded` holds two rows of whole pieces.
    ATTENTA_ALWAYS_INLINE void row(const std::byte* codes, float* to, float* expanded) const {
        const std::byte* const behind = codes + code_bytes_;
        const auto* const scales = reinterpret_cast<const float*>(behind);
        if (groups_ == 1) {
            const B scale(scales[0]), offset(offset_of(scales, 0));
            return widen(codes, to, [&](std::int64_t, int, B& s, B& o) ATTENTA_FLATTEN { s = scale, o = offset; });
        }
        if (group_ == 0) {
            std::int32_t distance;
            std::memcpy(&distance, behind, sizeof distance);
            const auto* const block = reinterpret_cast<const float*>(codes - distance);
            return by_channel(codes, to, block, block + padded_);
        }
        if (group_ % piece == 0) {
            std::int64_t g = 0, end = group_;
            B scale(scales[0]), offset(offset_of(scales, 0));
            return widen(codes, to, [&](std::int64_t c, int, B& s, B& o) ATTENTA_FLATTEN {
                if (c == end) {
                    end += group_;
                    ++g;
                    scale = B(scales[g]);
                    offset = B(offset_of(scales, g));
                }
                s = scale, o = offset;
            });
        }
        for (std::int64_t g = 0; g < groups_; ++g) {
            std::fill_n(expanded + g * group_, group_, scales[g]);
            std::fill_n(expanded + padded_ + g * group_, group_, offset_of(scales, g));
        }
        by_channel(codes, to, expanded, expanded + padded_);
    }

private:
    float offset_of(const float* scales, std::int64_t g) const {
        return offset_of_group<Bits>(scales, groups_, g, signed_);
    }
    ATTENTA_ALWAYS_INLINE void by_channel(const std::byte* codes, float* to, const float* scales,
                                          const float* offsets) const {
        widen(codes, to, [&](std::int64_t c, int i, B& scale, B& offset) ATTENTA_FLATTEN {
            scale = load<Arch>(scales + c + i * L);
            offset = load<Arch>(offsets + c + i * L);
        });
    }
    /// scales(c, i, scale, offset) gives those of the i-th vector from channel c on. Writes whole pieces.
    template <class Scales>
    ATTENTA_ALWAYS_INLINE void widen(const std::byte* codes, float* to, Scales&& scales) const {
        std::int64_t c = 0;
        while (c < dim_) {
            unrolled<pieces>([&](auto n) ATTENTA_FLATTEN {
                if (n > 0 && c >= dim_) return;
                unrolled<vectors>([&](auto i) ATTENTA_FLATTEN {
                    const B x = load_codes<Arch, Bits, Bits * n>(codes + i * L);
                    B scale, offset;
                    scales(c, i, scale, offset);
                    fma<Arch>(x, scale, offset).store_unaligned(to + c + i * L);
                });
                c += piece;
            });
            codes += piece;
        }
    }

    std::int64_t dim_, group_, groups_, code_bytes_, padded_;
    bool signed_;
};

/// n rows, which lie `offset` bytes behind rows[i], of a side of a cache; to[i · stride], whole pieces of 16 channels. Keys
/// and values of a step of the loops, so that products read L1. `expanded` holds two rows.
template <class Arch>
[[gnu::noinline]] void widen_codes(const KvView::Rows& side, const std::byte* const* rows, std::int64_t offset,
                                   std::int64_t n, float* to, std::int64_t stride, float* expanded) {
    constexpr std::int64_t rows_ahead = 24;  // rows mostly follow each other: that many further on is what comes next
    const std::int64_t bytes = side.row_bytes(), ahead = offset + rows_ahead * bytes;
    const auto all = [&]<int Bits>(std::integral_constant<int, Bits>) ATTENTA_FLATTEN {
        const CodeWidener<Arch, Bits> widener(side);
        for (std::int64_t i = 0; i < n; ++i) {
            for (std::int64_t at = 0; at < bytes; at += cache_line) prefetch_line<Level::l1>(rows[i] + ahead + at);
            widener.row(rows[i] + offset, to + i * stride, expanded);
        }
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

/// The same of any side. Of codes whole pieces are written.
template <class Arch>
void widen_rows(const KvView::Rows& side, const std::byte* const* rows, std::int64_t offset, std::int64_t n, float* to,
                std::int64_t stride, float* expanded) {
    if (side.dtype == Dtype::codes) return widen_codes<Arch>(side, rows, offset, n, to, stride, expanded);
    with_type(side.dtype, [&]<class T>(const T*) {
        for (std::int64_t i = 0; i < n; ++i)
            widen_row<Arch>(reinterpret_cast<const T*>(rows[i] + offset), to + i * stride, side.dim);
    });
}

/// Keys of a head as the products meet them: what they are tied to, then their own channels.
template <class Arch>
void widen_keys(const KvView& kv, std::int64_t head, const std::byte* const* k_rows, const std::byte* const* v_rows,
                std::int64_t n, float* to, std::int64_t stride, float* expanded) {
    if (kv.tied > 0) widen_rows<Arch>(kv.v, v_rows, kv.v.head_bytes(head), n, to, stride, expanded);
    widen_rows<Arch>(kv.k, k_rows, kv.k.head_bytes(head), n, to + kv.tied, stride, expanded);
}

}  // namespace simd

ATTENTA_END
