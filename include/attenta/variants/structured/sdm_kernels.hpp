#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/engine/score/score_edit.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace structured {

/// The number of ones in a row of zeros and ones, −1 where there is another number.
using CountOnes = float (*)(const float* x, std::int64_t n);
ATTENTA_DECLARE_KERNEL(CountOnes, count_ones)

/// q·k of rows of n bits ← log_weights[|q| + |k| − 2 q·k], from [heads, queries] and [kv heads, keys] ones of each; `ones_k` has
/// room for a vector behind its end.
struct HammingWeights {
    const float *log_weights, *ones_q, *ones_k;
    float n;
    std::int64_t queries, keys, group;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(HammingWeights)

/// cos ← log_weights[⌊n (1 − cos) / 2⌋]
struct BinnedWeights {
    const float* log_weights;
    float n;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(BinnedWeights)

/// cos ← ln of what caps share, at the distance y = √((1 − cos)/2) of their centres (sdm_tables::CapSpline).
struct CapWeights {
    const float* coefficients;
    float pieces, reach, power;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(CapWeights)

}  // namespace structured

ATTENTA_END
