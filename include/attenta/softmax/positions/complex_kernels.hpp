#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Pairs (x[c], x[c + pairs]) as M e^{iA} become M e^{i (delta[c] A + bias[c])}; a null bias is 0.
using ScalePhases = void (*)(const float* x, std::int64_t pairs, const float* delta, const float* bias, float* to);
ATTENTA_DECLARE_KERNEL(ScalePhases, scale_phases)

}  // namespace detail

ATTENTA_END
