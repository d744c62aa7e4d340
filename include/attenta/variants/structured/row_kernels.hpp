// Rows that become unit vectors, compiled for each instruction set.
#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace structured {

/// to = factor · (x + shift) / √(Σ (x + shift)² + eps); zeros stay zeros where eps is 0. Squares neither overflow nor vanish.
/// Returns √ of what stands there.
struct UnitRow {
    float shift = 0, eps = 0, factor = 1;
};
using UnitRowFunction = float (*)(const float* x, std::int64_t n, const UnitRow& how, float* to);
ATTENTA_DECLARE_KERNEL(UnitRowFunction, unit_row)

}  // namespace structured

ATTENTA_END
