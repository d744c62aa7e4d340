#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace structured {

/// Of `count` maps, `stride` apart, softmax at each of `n` positions.
using SoftmaxOfMaps = void (*)(float* maps, std::int64_t stride, std::int64_t count, std::int64_t n);
ATTENTA_DECLARE_KERNEL(SoftmaxOfMaps, softmax_of_maps)

/// A row of a channel: Σ_n weights_n ⊙ pool_n(x).
struct PoolMix {
    const float* x = nullptr;  ///< the channel
    std::int64_t row_stride = 0, rows = 0, width = 0, row = 0;
    const float* weights = nullptr;  ///< of the first scale, at the row
    std::int64_t weight_stride = 0, scales = 0;
    std::int64_t margin = 0;
    float* sums = nullptr;  ///< scratch [width], `margin` zeros on either side
    float* to = nullptr;
};
using PoolMixFunction = void (*)(const PoolMix& m);
ATTENTA_DECLARE_KERNEL(PoolMixFunction, mix_pools_row)

}  // namespace structured

ATTENTA_END
