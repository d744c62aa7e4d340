#pragma once

#include <attenta/core/view.hpp>
#include <attenta/engine/score/score_edit.hpp>

#include <cstdint>

ATTENTA_BEGIN

/// Three factors of a pair: queries of a range, keys, and a row of the distance d − first, the nearest of the table's where it
/// is beyond. Borrowed.
struct TripleFactors {
    Heads<const float> q, k, rel;
    std::int64_t first = 0;
    float scale = 1;
};

namespace edits {

/// s ← s + scale · Σ_c q_c k_c rel_c
struct TripleProducts {
    const TripleFactors* factors;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(TripleProducts)

}  // namespace edits

ATTENTA_END
