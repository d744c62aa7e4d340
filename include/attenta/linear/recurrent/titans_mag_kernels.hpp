#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Rows of the two branches and what normalises them: weights, or null where nothing does.
struct GatedBranches {
    const float *y, *memory, *norm_y, *norm_memory;
    float eps;
};
/// o = n(y) ⊙ sigmoid(n(memory)); o may be y.
using GateByMemory = void (*)(const GatedBranches& branches, float* o, std::int64_t dim);
ATTENTA_DECLARE_KERNEL(GateByMemory, gate_by_memory)

}  // namespace detail

ATTENTA_END
