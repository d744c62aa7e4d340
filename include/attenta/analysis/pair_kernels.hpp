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

/// to = square + squares_j − 2 gain products_j, at least 0, for n rows: |x − y_j|² of |x|², |y_j|² and x · y_j. Returns the smallest.
using SquaredDistances = float (*)(const float* products, const float* squares, std::int64_t n, float square,
                                   float gain, float* to);
ATTENTA_DECLARE_KERNEL(SquaredDistances, squared_pair_distances)

/// Σ a, Σ d, Σ a², Σ d² and Σ a d of a_j = products_j + parts_j + part and d_j = sqrt(squared_j) − 1.
struct CorrelationSums {
    float product = 0, distance = 0, products = 0, distances = 0, mixed = 0;
};
using SumForCorrelation = CorrelationSums (*)(const float* products, const float* parts, const float* squared,
                                              std::int64_t n, float part);
ATTENTA_DECLARE_KERNEL(SumForCorrelation, pair_correlation_sums)

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/pair_kernels.inl>
#endif
