// What read-outs of pairs of tokens have compiled for each instruction set: sums over marked keys, distances and correlations.
#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace analysis {

/// Over n keys with marks of 0 and 1: Σ mark x, and how many marked x are at least `least`.
struct MarkedSums {
    float weight = 0, strong = 0;
};
using SumMarked = MarkedSums (*)(const float* x, const float* mark, std::int64_t n, float least);
ATTENTA_DECLARE_KERNEL(SumMarked, sum_marked)

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/pair_kernels.inl>
#endif
