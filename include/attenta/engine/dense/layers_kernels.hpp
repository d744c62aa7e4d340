#pragma once

#include <attenta/engine/dense/layers.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace dense {

/// y ← f(y + b) for a block of y [rows, n].
struct ActivateBlock {
    float* y = nullptr;
    std::int64_t stride = 0, rows = 0, n = 0;
    LayerBias bias = {};  ///< from the block's first column or row on
    Activation f = Activation::none;
};
using ActivateFunction = void (*)(const ActivateBlock& block);
ATTENTA_DECLARE_KERNEL(ActivateFunction, activate_block)

/// y ← (y − mean) / √(variance + eps) · gain + bias, of the row itself.
using LayerNormFunction = void (*)(float* y, std::int64_t n, const float* gain, const float* bias, float eps);
ATTENTA_DECLARE_KERNEL(LayerNormFunction, layer_norm_row)

/// to = x / √(mean x² + eps) · gain + shift, each where it is given.
using RmsNormFunction = void (*)(const float* x, std::int64_t n, const float* gain, const float* shift, float eps,
                                 float* to);
ATTENTA_DECLARE_KERNEL(RmsNormFunction, rms_norm_row)

/// y ← softmax of factor · gain ⊙ y; without gain of factor · y. All −∞ gives zeros, NaN makes NaN of all.
using SoftmaxRowFunction = void (*)(float* y, std::int64_t n, float factor, const float* gain);
ATTENTA_DECLARE_KERNEL(SoftmaxRowFunction, softmax_row)

}  // namespace dense

ATTENTA_END
