#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// y of n channels; bias may be null. `factor` is exp(A); bound 0 is the open form.
using KdaGateFunction = void (*)(const float* x, const float* bias, float factor, float bound, std::int64_t n,
                                 float* y);
ATTENTA_DECLARE_KERNEL(KdaGateFunction, kda_gate_row)

}  // namespace detail

ATTENTA_END
