// Rotations of pairs of channels, which is what rotary positions come down to: (a, b) → (a c − b s, b c + a s).
#pragma once

#include <attenta/core/dtype.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace rotary {

/// Rotates the first 2 · pairs of dim elements x by the angles of a table, the others are copied; `to` may be x. The table has
/// the pairs' cosines, then their sines, or (cosine, sine) by pairs where these are interleaved.
using RotateRow = void (*)(const void* x, const float* table, std::int64_t pairs, bool interleaved, std::int64_t dim,
                           void* to);

/// By type of the elements.
struct Kernels {
    RotateRow rows[dtype_count];

    RotateRow of(Dtype type) const { return rows[static_cast<int>(type)]; }
};
ATTENTA_DECLARE_KERNEL(Kernels, rotate_rows)

/// factor · cos and factor · sin of position · frequencies[c] for c < pairs, in the order that RotateRow reads. Products are formed
/// and reduced to one turn in double: in float the angles of far positions have no digits left.
using SetAngles = void (*)(const double* frequencies, std::int64_t pairs, double position, double factor,
                           bool interleaved, float* to);
ATTENTA_DECLARE_KERNEL(SetAngles, set_rotary_angles)

}  // namespace rotary

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/rotary/kernels.inl>
#endif
