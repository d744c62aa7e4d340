#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/engine/scan/request.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// The gates of a head's tokens behind each other: decays (logarithms), weights of the keys and m of each token.
struct MlstmGates {
    float *decays, *weights, *maxima;
};
/// On entry `decays` are forget gates, logits if `logits`, and `weights` logarithms of input gates; m comes in as `past`.
using MlstmGateFunction = void (*)(const MlstmGates& gates, std::int64_t n, bool logits, float past);
ATTENTA_DECLARE_KERNEL(MlstmGateFunction, mlstm_gates)

/// y = x times the scale and the weight of the row's token.
struct MlstmKeys {
    const float* weights = nullptr;  ///< [H, tokens]
    std::int64_t tokens = 0;
    float scale = 1;
};
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, mlstm_keys)

}  // namespace detail

ATTENTA_END
