#pragma once

#include <attenta/core/view.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// log F of the gate's and the refining logits of n channels.
using RefinedGates = void (*)(const float* gate, const float* refine, std::int64_t n, float* log_gates);
ATTENTA_DECLARE_KERNEL(RefinedGates, refined_gates)

/// The largest finite element of a head's rows, or `least`.
using LargestKey = float (*)(Heads<const float> k, std::int64_t head, float least);
ATTENTA_DECLARE_KERNEL(LargestKey, largest_key)

}  // namespace detail

ATTENTA_END
