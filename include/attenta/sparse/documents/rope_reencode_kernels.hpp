#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Rotates the first 2 · pairs of dim numbers x by the angles of a table, the others are copied; `to` may be x. The table has
/// the pairs' cosines, then their sines, or (cosine, sine) by pairs where these are interleaved.
using RotateRow = void (*)(const float* x, const float* table, std::int64_t pairs, bool interleaved, std::int64_t dim,
                           float* to);
ATTENTA_DECLARE_KERNEL(RotateRow, rotate_row)

}  // namespace detail

ATTENTA_END
