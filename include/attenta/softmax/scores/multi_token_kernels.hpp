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

/// o ← o ⊙ sigmoid(gate + bias); with `one` a gate is of all channels.
using OutputGateRow = void (*)(float* o, std::int64_t n, const float* gate, const float* bias, bool one);
ATTENTA_DECLARE_KERNEL(OutputGateRow, output_gate_row)

}  // namespace detail

ATTENTA_END
