// Rows on their way into a cache and back, one by one: rounding, codes, rotation. Attention reads rows of codes through
// simd/codes.hpp.
#pragma once

#include <attenta/core/dtype.hpp>
#include <attenta/core/row_codes.hpp>
#include <attenta/core/view.hpp>
#include <attenta/kv/storage.hpp>

#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// n floats in another floating type.
void store_row(const float* x, std::int64_t n, Dtype type, std::byte* to);
/// The first finite number beyond `most`, or null.
const float* find_beyond(const float* x, std::int64_t n, float most);

/// The largest power of two that divides n.
inline std::int64_t power_of_two_in(std::int64_t n) { return n & -n; }
/// Throws Error on a format that K or V (`side`) of `dim` features cannot have.
void check_format(const char* function, const char* side, const KvFormat& format, std::int64_t dim);
/// The codes of rows of `dim` features.
RowCodes codes_of(const KvFormat& format, std::int64_t dim);
/// Bytes of a row in a format, blocks' scales not counted.
std::int64_t row_bytes(const KvFormat& format, std::int64_t dim);
/// Throws Error unless x has memory and all its numbers can be stored: no finite one beyond the largest of the type, in codes
/// none beyond 1e36, or 65504 where scales are f16; of rotated rows that over the root of the block, which a channel may get.
void check_stored(const char* function, const char* name, const KvFormat& format, Heads<const float> x, int layer = -1);
/// A row in its format, where each token has its own scales.
void store(const KvFormat& format, const RowCodes& codes, const float* x, std::int64_t dim, std::byte* to);

/// A row with scales of its own. `half_scales`: they are rounded to f16 before codes are formed.
void store_codes(const float* x, std::int64_t dim, const RowCodes& codes, bool half_scales, std::byte* to);
/// `tokens` rows x[t · dim] of a block, which share a scale per channel: `block` gets scales and offsets, `rows`, one behind
/// the other, their codes.
void store_block(const float* x, std::int64_t tokens, std::int64_t dim, const RowCodes& codes, bool half_scales,
                 std::byte* block, std::byte* rows);

/// x ← H x for each run of `block` channels, H the orthonormal Walsh-Hadamard matrix in natural order.
void rotate_row(float* x, std::int64_t dim, std::int64_t block);

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/row_codec.inl>
#endif
