#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

/// o = (o + skip · x) · silu(z); z may be null, skip is [n] or, with skip_stride 0, one number.
using SkipAndGate = void (*)(float* o, const float* x, const float* skip, std::int64_t skip_stride, const float* z,
                             std::int64_t n);
ATTENTA_DECLARE_KERNEL(SkipAndGate, skip_and_gate)

ATTENTA_END
