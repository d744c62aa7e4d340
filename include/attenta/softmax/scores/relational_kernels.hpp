#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/engine/score/score_edit.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// x ← act(x) for n numbers; the activation is that of RelationActivation.
using ActivateRow = void (*)(float* x, std::int64_t n, int activation);
ATTENTA_DECLARE_KERNEL(ActivateRow, activate_relations)

}  // namespace detail

namespace edits {

/// An observer: sums[head, query, l] += Σ_j weight_j relations[l, query, j]. sums [H, queries, count], relations [count, queries,
/// keys].
struct WeightedRelations {
    const float* relations;
    float* sums;
    std::int64_t count, queries, keys;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(WeightedRelations)

}  // namespace edits

ATTENTA_END
