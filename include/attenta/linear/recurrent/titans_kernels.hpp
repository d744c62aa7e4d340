#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/linear/recurrent/titans.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// y = σ(x) of n numbers, and σ'(x) where `slope` is given; y may be x.
using TitansActivate = void (*)(TitansActivation activation, const float* x, std::int64_t n, float* y, float* slope);
ATTENTA_DECLARE_KERNEL(TitansActivate, titans_activate)

/// What stands around the network: norm and residual.
struct TitansWrap {
    TitansNorm norm;
    bool residual;
    float eps, loss_scale;
};
/// A row y of the network's output, input x: z = [x +] [LN](y); z may be y.
using TitansOutput = void (*)(const TitansWrap& wrap, const float* y, const float* x, float* z, std::int64_t dim);
ATTENTA_DECLARE_KERNEL(TitansOutput, titans_output)
/// The same row becomes the gradient in y of loss_scale · ‖z − v‖².
using TitansError = void (*)(const TitansWrap& wrap, float* y, const float* x, const float* v, std::int64_t dim);
ATTENTA_DECLARE_KERNEL(TitansError, titans_error)

/// W = b W + f Z, then Z = m Z, n numbers.
struct TitansDecay {
    float *w = nullptr, *z = nullptr;
    std::int64_t n = 0;
    float b = 1, f = 0, m = 1;
};
using TitansDecayFunction = void (*)(const TitansDecay& decay);
ATTENTA_DECLARE_KERNEL(TitansDecayFunction, titans_decay)

/// A token's update of `columns` columns: Z = η Z − θ l rᵀ, W = keep W + Z; with q also o = Wᵀ q.
struct TitansStep {
    float *w = nullptr, *z = nullptr;
    std::int64_t stride = 0, rows = 0, columns = 0;
    float eta = 0, theta = 0, keep = 1;
    const float *l = nullptr, *r = nullptr, *q = nullptr;
    float* o = nullptr;
};
using TitansStepFunction = void (*)(const TitansStep& step);
ATTENTA_DECLARE_KERNEL(TitansStepFunction, titans_step)

}  // namespace detail

ATTENTA_END
