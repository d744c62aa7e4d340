// Rows of K and V as small integers.
//
// A row is its codes, unsigned, then what makes numbers of them:
//
//   x_c = code_c · scale + offset        offset = zero for codes that count from a smallest value,
//                                        −2^(bits−1) · scale for signed ones (then the sum rounds once)
//
// for each group of channels {scale[groups], offset[groups]}, no offsets of signed codes; or, where a block of tokens shares
// a scale per channel (keys of KIVI), how many bytes before the row the block's {scale[dim], offset[dim]} stand, an int32. A
// row needs nothing else, so tables of row addresses serve it as they serve floats, in pages and after eviction, too.
//
// Codes stand in pieces of 16 channels: byte i of 16 holds channel i of 1, 2 or 4 successive pieces (8, 4 or 2 bits), the
// first in its lowest bits. So a vector of any width meets one shift.
#pragma once

#include <attenta/core/dtype.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

ATTENTA_BEGIN

struct RowCodes {
    static constexpr std::int64_t piece = 16;  ///< channels whose codes stand together

    int bits = 8;            ///< of a code: 8, 4 or 2
    std::int64_t group = 0;  ///< channels of a row that share a scale; 0: tokens of a block share one for each channel
    bool signed_codes = true;

    constexpr int pieces_per_byte() const { return 8 / bits; }
    constexpr int most() const { return (1 << bits) - 1; }
    /// Bytes of the codes of a row.
    constexpr std::int64_t code_bytes(std::int64_t dim) const {
        const std::int64_t channels = piece * pieces_per_byte();
        return (dim + channels - 1) / channels * piece;
    }
    constexpr std::int64_t groups(std::int64_t dim) const { return group == 0 ? 0 : dim / group; }
    /// Bytes of a row, a multiple of 4.
    constexpr std::int64_t row_bytes(std::int64_t dim) const {
        return code_bytes(dim) + (group == 0 ? 4 : (signed_codes ? 4 : 8) * groups(dim));
    }
    /// Bytes of what a block of tokens shares: whole vectors of any width.
    constexpr std::int64_t block_bytes(std::int64_t dim) const {
        return group == 0 ? 8 * ((dim + piece - 1) / piece * piece) : 0;
    }
};

namespace detail {

// Rows one by one; kernels read them through simd/codes.hpp.

/// A code of a row.
inline int code_at(const std::byte* row, std::int64_t c, const RowCodes& codes) {
    const std::int64_t piece = c / RowCodes::piece, of_byte = codes.pieces_per_byte();
    const auto byte = static_cast<unsigned>(row[piece / of_byte * RowCodes::piece + c % RowCodes::piece]);
    const unsigned code = byte >> (static_cast<unsigned>(codes.bits) * static_cast<unsigned>(piece % of_byte)) &
                          static_cast<unsigned>(codes.most());
    return static_cast<int>(code) - (codes.signed_codes ? 1 << (codes.bits - 1) : 0);
}

/// What makes numbers of a row's codes.
struct RowScales {
    const std::byte* scales;             ///< floats, of each group or channel
    const std::byte* offsets = nullptr;  ///< the same; null: those of signed codes
};
inline RowScales scales_of(const std::byte* row, std::int64_t dim, const RowCodes& codes) {
    const std::byte* const behind = row + codes.code_bytes(dim);
    if (codes.group > 0) return {behind, codes.signed_codes ? nullptr : behind + 4 * codes.groups(dim)};
    std::int32_t distance;
    std::memcpy(&distance, behind, sizeof distance);
    return {row - distance, row - distance + codes.block_bytes(dim) / 2};
}

/// Any row as floats.
inline void load_row(const std::byte* row, std::int64_t dim, Dtype type, const RowCodes& codes, float* to) {
    switch (type) {
        case Dtype::f32:
            std::copy_n(reinterpret_cast<const float*>(row), dim, to);
            return;
        case Dtype::bf16:
            std::copy_n(reinterpret_cast<const bfloat16*>(row), dim, to);
            return;
        case Dtype::f16:
            std::copy_n(reinterpret_cast<const float16*>(row), dim, to);
            return;
        case Dtype::codes:
            break;
    }
    const auto [scales, offsets] = scales_of(row, dim, codes);
    const int middle = codes.signed_codes ? 1 << (codes.bits - 1) : 0;
    for (std::int64_t c = 0; c < dim; ++c) {
        const std::int64_t at = codes.group == 0 ? c : c / codes.group;
        float scale, offset;
        std::memcpy(&scale, scales + 4 * at, sizeof scale);
        if (offsets)
            std::memcpy(&offset, offsets + 4 * at, sizeof offset);
        else
            offset = -static_cast<float>(middle) * scale;
        to[c] = std::fma(static_cast<float>(code_at(row, c, codes) + middle), scale, offset);
    }
}

}  // namespace detail

ATTENTA_END
