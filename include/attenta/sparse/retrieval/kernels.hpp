// What the mechanisms of retrieval have compiled for each instruction set: products of rows, and edits that only look.
#pragma once

#include <attenta/core/dtype.hpp>
#include <attenta/engine/common/row_statistics.hpp>
#include <attenta/engine/kernel.hpp>
#include <attenta/engine/score/score_edit.hpp>

#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

/// to[0, width) = Σ_c x[c] · basis[c · stride + 0 .. width), c < dim.
using ProjectRow = void (*)(const float* x, std::int64_t dim, const float* basis, std::int64_t stride,
                            std::int64_t width, float* to);
ATTENTA_DECLARE_KERNEL(ProjectRow, project_row)

/// to[i] = x · row keys[i] of `rows`, which lie behind each other. Products are exact and their sum is a double, formed in one
/// order everywhere: what is ranked by it is the same for any instruction set.
using ExactDots = void (*)(const float* x, std::int64_t dim, const std::byte* rows, Dtype dtype,
                           const std::int32_t* keys, std::int64_t count, double* to);
ATTENTA_DECLARE_KERNEL(ExactDots, exact_dots)

/// to[i] += exp(s[i] − max) / sum of a row's statistics.
using AddWeights = void (*)(const float* s, std::int64_t n, const RowStatistics& row, float* to);
ATTENTA_DECLARE_KERNEL(AddWeights, add_weights)

namespace edits {

/// An observer of scores, of calls with one query: scores[head, position of the key]. [Hq, keys]
struct ScoresByKey {
    float* scores;
    std::int64_t keys;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(ScoresByKey)

/// An observer of weights: map[K/V head, query, key − first] += the weights of the head's group. [Hkv, width, width]
struct GroupMaps {
    float* map;
    std::int64_t group, first, width;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(GroupMaps)

/// An observer of weights: sums[head, key] += Σ over queries of factor[query] · weight. [Hq, keys]
struct FactoredSums {
    float* sums;
    std::int64_t keys;
    const float* factor;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(FactoredSums)

}  // namespace edits

ATTENTA_END
