// What the mechanisms of retrieval have compiled for each instruction set: products of rows, and edits that only look.
#pragma once

#include <attenta/core/dtype.hpp>
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

namespace edits {

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
