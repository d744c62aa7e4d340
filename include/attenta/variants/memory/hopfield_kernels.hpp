#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Σ (softmax(a) − softmax(b))² of two rows of n scores, a multiple of 16.
using WeightChange = float (*)(const float* a, const float* b, std::int64_t n);
ATTENTA_DECLARE_KERNEL(WeightChange, weight_change)

}  // namespace detail

ATTENTA_END
