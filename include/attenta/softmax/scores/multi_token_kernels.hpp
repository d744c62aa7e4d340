#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// The kernel of a head, rows of `columns` numbers.
struct ScoreKernel {
    const float* data;
    std::int64_t stride, rows, columns;
};
/// A row of a convolution of scores: to[j] = Σ_ab kernel[a][b] rows[a · stride + j + b], j < n. Rows have room for four vectors
/// behind what is read.
using ConvolveScores = void (*)(const float* rows, std::int64_t stride, const ScoreKernel& kernel, float* to,
                                std::int64_t n);
ATTENTA_DECLARE_KERNEL(ConvolveScores, convolve_scores)

}  // namespace detail

ATTENTA_END
