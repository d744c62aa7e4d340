// What read-outs of vectors have compiled for each instruction set: norms of rows and distances.
#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace analysis {

/// to = (x − mean) / sqrt(variance + eps) · weight + bias, or without the mean x / sqrt(mean x² + eps) · weight, of n numbers. `bias` may
/// be null. May be in place.
using NormalizeRow = void (*)(const float* x, std::int64_t n, bool center, float eps, const float* weight,
                              const float* bias, float* to);
ATTENTA_DECLARE_KERNEL(NormalizeRow, normalize_readout_row)

/// |factor x − y|²
using ScaledDistance = float (*)(const float* x, float factor, const float* y, std::int64_t n);
ATTENTA_DECLARE_KERNEL(ScaledDistance, scaled_distance)

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/projection_kernels.inl>
#endif
