// Rows of K and V as small integers.
//
// A row is its codes, unsigned, then what makes numbers of them:
//
//   x_c = code_c · scale + offset        offset = zero for codes that count from a smallest value,
//                                        −2^(bits−1) · scale for signed ones (then the sum rounds once)
//
// for each group of channels {scale[groups], offset[groups]}; or, where a block of tokens shares a scale per channel (keys
// of KIVI), how many bytes before the row the block's {scale[dim], offset[dim]} stand, an int32. A row needs nothing else, so
// tables of row addresses serve it as they serve floats, in pages and after eviction, too.
//
// Codes stand in pieces of 16 channels: byte i of 16 holds channel i of 1, 2 or 4 successive pieces (8, 4 or 2 bits), the
// first in its lowest bits. So a vector of any width meets one shift.
#pragma once

#include <attenta/core/config.hpp>

#include <cstdint>

ATTENTA_BEGIN

struct RowCodes {
    static constexpr std::int64_t piece = 16;  ///< channels whose codes stand together

    int bits = 8;            ///< of a code: 8, 4 or 2
    std::int64_t group = 0;  ///< channels of a row that share a scale; 0: tokens of a block share one for each channel
    bool signed_codes = true;

    bool operator==(const RowCodes&) const = default;

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
        return code_bytes(dim) + (group == 0 ? 4 : 8 * groups(dim));
    }
    /// Bytes of what a block of tokens shares: whole vectors of any width.
    constexpr std::int64_t block_bytes(std::int64_t dim) const {
        return group == 0 ? 8 * ((dim + piece - 1) / piece * piece) : 0;
    }
};

ATTENTA_END
