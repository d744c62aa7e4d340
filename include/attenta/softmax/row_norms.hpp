// Norms of the rows of queries and keys.
#pragma once

#include <attenta/core/dtype.hpp>
#include <attenta/engine/kernel.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

namespace detail {

/// x / max(|x|, eps), x / sqrt(mean x² + eps), or (x − mean) / sqrt(variance + eps).
enum class VectorNorm : std::uint8_t { none, l2, rms, layer };

/// y = norm(x) · weight + bias; a null weight is 1, a null bias 0, y may be x.
using NormalizeRow = void (*)(const float* x, std::int64_t dim, VectorNorm norm, float eps, const float* weight,
                              const float* bias, float* y);
ATTENTA_DECLARE_KERNEL(NormalizeRow, normalize_row)

/// The factor of a norm for a row of any floating type.
using RowFactor = float (*)(const void* x, Dtype type, std::int64_t dim, VectorNorm norm, float eps);
ATTENTA_DECLARE_KERNEL(RowFactor, row_factor)

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/softmax/row_norms_kernels.inl>
#endif
