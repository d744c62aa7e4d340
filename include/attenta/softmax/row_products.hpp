// Small projections of rows: x W + b.
#pragma once

#include <attenta/core/view.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// A matrix [m, n] with its rows `stride` apart, and a bias of n numbers, or null.
struct RowWeights {
    const float* data;
    std::int64_t m, n, stride;
    const float* bias;
};

/// to[r · to_stride ..] = x[r · x_stride ..] W + b for `rows` rows.
using MultiplyRows = void (*)(const float* x, std::int64_t x_stride, std::int64_t rows, const RowWeights& w, float* to,
                              std::int64_t to_stride);
ATTENTA_DECLARE_KERNEL(MultiplyRows, multiply_rows)

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/softmax/row_products_kernels.inl>
#endif
