#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/engine/scan/request.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// The sums of one head's latents over the rows of k: what the scan gets of them, [rows, L] each.
struct LatentSums {
    Heads<const float> k;
    std::int64_t head;
    float scale;
    float *largest, *sum;               ///< [L] m and n, which go on; without a key so far n is 0
    float *decays, *weights, *inverse;  ///< m_{t-1} − m_t, exp(scale · k_t − m_t), 1 / n_t
};
using SumLatents = void (*)(const LatentSums& sums);
ATTENTA_DECLARE_KERNEL(SumLatents, sum_latents)

/// Parameters of the queries' map: p_i / n, without the share of the window.
struct LatentShares {
    float scale;
    std::int64_t skipped;               ///< logits in front that are not latents'
    const float* inverse;               ///< [state head][key][L]
    std::int64_t keys, first, per_row;  ///< query i has the row of key first + i · per_row
};
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, latent_shares)

/// o += share · near, share the first one in the softmax of n logits.
using AddFirstShare = void (*)(const float* logits, std::int64_t n, float scale, const float* near, std::int64_t dim_v,
                               float* o);
ATTENTA_DECLARE_KERNEL(AddFirstShare, add_first_share)

}  // namespace detail

ATTENTA_END
