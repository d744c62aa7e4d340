// Score edits that make weights, each of its own score alone, for calls with local weights.
#pragma once

#include <attenta/engine/score/score_edit.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace edits {

/// s ← σ(s + bias)
struct SigmoidWeights {
    float bias;
    const float* of_sequence = nullptr;  ///< [sequences] of a batch, in place of it

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(SigmoidWeights)

/// s ← max(s, 0) or its square
struct ReluWeights {
    bool squared;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(ReluWeights)

/// s ← ½ (1 + erf((s − mean) / (deviation √2))), within 2e-7. Ma et al. 2022: the mean 1/√2 and the deviation 1/√(4π) make it
/// the nearest of its kind to relu².
struct LaplaceWeights {
    float mean = 0.707107f, deviation = 0.282095f;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(LaplaceWeights)

/// s ← s · gain[head, query]
struct QueryGain {
    const float* gain;
    std::int64_t queries;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(QueryGain)

}  // namespace edits

using edits::edit;

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/local_weights_kernels.inl>
#endif
