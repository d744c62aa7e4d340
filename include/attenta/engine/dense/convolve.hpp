// Small convolutions of feature maps: n x n taps, stride 1, the size of the map stays.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/dense/maps.hpp>

ATTENTA_BEGIN

namespace dense {

/// What becomes of a sum, in this order; each where it is given.
struct ConvolutionFinish {
    const float *scale = nullptr, *bias = nullptr;  ///< [O]
    bool sigmoid = false;
    Heads<const float> gates = {};     ///< [O, H, W] times σ(gates + gate_bias)
    const float* gate_bias = nullptr;  ///< [O]
};

/// to[o, y, x] = Σ_c Σ_ab w[o, c, a·n + b] · map[c, y + a − n/2, x + b − n/2] with n = 2 · margin + 1 and w [O, C, n·n]. All
/// shapes have been checked.
void convolve(const PaddedMap& map, Heads<const float> w, Heads<float> to, const ConvolutionFinish& finish,
              Context& context);

}  // namespace dense

ATTENTA_END
