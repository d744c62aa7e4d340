#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/engine/dense/layers_kernels.hpp>
#include <attenta/simd/for_vectors.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace dense::kernels {

template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> activate(Activation f, simd::Batch<Arch> y) {
    switch (f) {
        case Activation::relu:
            return simd::max<Arch>(simd::Batch<Arch>(0.f), y);
        case Activation::sigmoid:
            return simd::sigmoid<Arch>(y);
        case Activation::tanh:
            return simd::tanh<Arch>(y);
        default:
            return y;
    }
}

template <class Arch>
void activate_block(const ActivateBlock& b) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    for (std::int64_t r = 0; r < b.rows; ++r) {
        float* const y = b.y + r * b.stride;
        if (b.bias.data && !b.bias.of_rows) {
            simd::map_pair<Arch>(y, b.bias.data, b.n, y,
                                 [&](B v, B bias) ATTENTA_FLATTEN { return activate<Arch>(b.f, v + bias); });
        } else {
            const B bias(b.bias.data ? b.bias.data[r] : 0.f);
            simd::map_row<Arch>(y, y, b.n, [&](B v) ATTENTA_FLATTEN { return activate<Arch>(b.f, v + bias); });
        }
    }
}

template <class Arch>
void layer_norm_row(float* y, std::int64_t n, const float* gain, const float* bias, float eps) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    const float count = static_cast<float>(n);
    const B mean(simd::sum_row<Arch>(y, n, [](B v) ATTENTA_FLATTEN { return v; }) / count);
    simd::map_row<Arch>(y, y, n, [&](B v) ATTENTA_FLATTEN { return v - mean; });
    const float variance = simd::sum_row<Arch>(y, n, [](B v) ATTENTA_FLATTEN { return v * v; }) / count;
    const B factor(1.f / std::sqrt(variance + eps));
    simd::map_pair<Arch>(y, gain, n, y, [&](B v, B g) ATTENTA_FLATTEN { return v * factor * g; });
    simd::map_pair<Arch>(y, bias, n, y, [](B v, B b) ATTENTA_FLATTEN { return v + b; });
}

template <class Arch>
void rms_norm_row(const float* x, std::int64_t n, const float* gain, const float* shift, float eps, float* to) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    const float squares = simd::sum_row<Arch>(x, n, [](B v) ATTENTA_FLATTEN { return v * v; });
    const B factor(1.f / std::sqrt(squares / static_cast<float>(n) + eps));
    simd::map_row<Arch>(x, to, n, [&](B v) ATTENTA_FLATTEN { return v * factor; });
    if (gain) simd::multiply_row<Arch>(to, gain, n);
    if (shift) simd::add_row<Arch>(to, shift, n, 1.f);
}

template <class Arch>
void softmax_row(float* y, std::int64_t n, float factor, const float* gain) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    if (factor != 1.f) simd::scale_row<Arch>(y, n, factor);
    if (gain) simd::multiply_row<Arch>(y, gain, n);
    const float top = simd::row_max<Arch>(y, n);
    if (top == -std::numeric_limits<float>::infinity()) {
        std::fill_n(y, n, 0.f);
        return;
    }
    simd::map_row<Arch>(y, y, n, [&](B s) ATTENTA_FLATTEN { return simd::exp_nonpositive<Arch>(s - B(top)); });
    simd::scale_row<Arch>(y, n, 1.f / simd::sum_row<Arch>(y, n, [](B p) ATTENTA_FLATTEN { return p; }));
}

}  // namespace dense::kernels

namespace dense {

ATTENTA_DEFINE_KERNEL(ActivateFunction, activate_block, &kernels::activate_block<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(LayerNormFunction, layer_norm_row, &kernels::layer_norm_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(RmsNormFunction, rms_norm_row, &kernels::rms_norm_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(SoftmaxRowFunction, softmax_row, &kernels::softmax_row<simd::NativeArch>)

}  // namespace dense

ATTENTA_END
