// Softmax of a row of scores, for row functions of the select loop.
#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// weights[i] = exp(scale · s[i]) / Σ exp(scale · s), n >= 1, scale > 0.
using RowSoftmaxFunction = void (*)(const float* s, std::int64_t n, float scale, float* weights);
ATTENTA_DECLARE_KERNEL(RowSoftmaxFunction, row_softmax)

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/row_softmax_kernels.inl>
#endif
