// Elementary work on rows that several variants have to do.
#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// y ← y / divisor
using DivideRow = void (*)(float* y, std::int64_t n, float divisor);
ATTENTA_DECLARE_KERNEL(DivideRow, divide_row)

/// Σ x²
using SumSquares = float (*)(const float* x, std::int64_t n);
ATTENTA_DECLARE_KERNEL(SumSquares, sum_squares)

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/row_kernels.inl>
#endif
