// The two passes of landmark attention over scores.
#pragma once

#include <attenta/engine/score/score_edit.hpp>

ATTENTA_BEGIN

namespace edits {

/// A number for each query head, query and block, [heads, queries, blocks]; -inf before the first pass.
struct LandmarkTable {
    float* numbers;
    std::int64_t queries, blocks, block_size;

    float* row(const QueryRow& r) const { return numbers + (r.head * queries + r.index) * blocks; }
    std::int64_t block_of(std::int64_t position) const { return position / block_size; }
};

/// Leaves the scores as they are. Of blocks before the query's own: log Σ exp of the scores of ordinary tokens, then, with
/// the landmark, its score minus that. Needs tiles in order.
struct LandmarkInside {
    LandmarkTable table;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(LandmarkInside)

/// Adds a block's number to the scores of its ordinary tokens, so that they share the landmark's weight; hides landmarks.
struct LandmarkShares {
    LandmarkTable table;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(LandmarkShares)

}  // namespace edits

ATTENTA_END
