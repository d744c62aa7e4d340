// Weight edits that only look: exact attention weights, collected tile by tile in a pass with known statistics.
// Each accumulates into memory of the caller, which must be zeroed before the run.
#pragma once

#include <attenta/engine/score/score_edit.hpp>

ATTENTA_BEGIN

namespace edits {

/// sums[head, key] += Σ over queries of the weight: accumulated attention, as eviction policies use it. [Hq, keys]
struct ColumnSums {
    float* sums;
    std::int64_t keys;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(ColumnSums)

/// sums[head, query, d] += the weights of keys at distance first + d, position of the key minus that of the query; the first and
/// the last of `count` take what lies beyond. [Hq, queries, count]
struct DistanceSums {
    float* sums;
    std::int64_t queries, first, count;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(DistanceSums)

/// weights[head, i, key]: the weights of the last `count` queries of `queries`. [Hq, count, keys]
struct LastRows {
    float* weights;
    std::int64_t keys, queries, count;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(LastRows)

}  // namespace edits

using edits::edit;

ATTENTA_END
