// Gaussians over the places of keys.
#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/engine/score/score_edit.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace locations {

/// s ← s · exp(−rate (j − p)²), p = centre + fraction of the row, [heads, queries].
struct GaussianFactor {
    const std::int64_t* centre;
    const float* fraction;
    std::int64_t queries;
    float rate;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(GaussianFactor)

/// A Gaussian on `count` keys, in units of their spacing, counted from the first of them.
struct GaussianKeys {
    std::int64_t count = 0;
    float nearest = 0;  ///< the key with the largest weight
    float centre = 0;   ///< may lie far outside
    float rate = 0;     ///< 1 / (2 sigma²)
};
struct GaussianSums {
    float weights, places;
};
/// to[t] = exp(rate ((nearest − centre)² − (t − centre)²)), 1 at the nearest key; returns Σ to[t] and Σ t to[t].
using GaussianWeights = GaussianSums (*)(const GaussianKeys& keys, float* to);
ATTENTA_DECLARE_KERNEL(GaussianWeights, gaussian_weights)

/// o ← keep · o + Σ_t factor · weights[t] · v[t]; with keep = 0 what o held does not matter.
struct WeightedRows {
    const float* v = nullptr;
    std::int64_t stride = 0, count = 0, dim = 0;
    const float* weights = nullptr;
    float factor = 1, keep = 0;
};
using AddWeightedRows = void (*)(const WeightedRows& rows, float* o);
ATTENTA_DECLARE_KERNEL(AddWeightedRows, add_weighted_rows)

}  // namespace locations

ATTENTA_END
