// What MInference looks at in exact weights, beside their column sums.
#pragma once

#include <attenta/engine/score/observers.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace edits {

/// sums[head, keys - 1 - offset] += Σ over queries of the weight of the key `offset` before, offset >= 0: the other way
/// round, so that a row of weights is added to a row of sums. [Hq, keys], zeroed before the run.
struct OffsetSums {
    float* sums;
    std::int64_t keys;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(OffsetSums)

}  // namespace edits

using edits::edit;

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/pages/minference_kernels.inl>
#endif
