// What read-outs have compiled for each instruction set: sums and products of rows of weights and of scores, and edits that read or
// change weights by groups of keys.
#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/engine/score/score_edit.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace analysis {

/// to = ((1 − residual) row + residual e_i) / its sum, of n numbers; a sum of 0 leaves zeros. May be in place.
using MixIdentity = void (*)(const float* row, std::int64_t n, std::int64_t i, float residual, float* to);
ATTENTA_DECLARE_KERNEL(MixIdentity, mix_identity)

/// to[i] = x_i · y_i of rows of `dim` behind each other, in double precision.
using PreciseDots = void (*)(const float* x, const float* y, std::int64_t rows, std::int64_t dim, double* to);
ATTENTA_DECLARE_KERNEL(PreciseDots, precise_dots)

/// How many of n numbers are larger than that at `at`, or as large and before it.
using CountStronger = std::int64_t (*)(const float* x, std::int64_t n, std::int64_t at);
ATTENTA_DECLARE_KERNEL(CountStronger, count_stronger)

/// How many of n numbers are at least `least`.
using CountFrom = std::int64_t (*)(const float* x, std::int64_t n, float least);
ATTENTA_DECLARE_KERNEL(CountFrom, count_from)

/// Σ x
using SumOfWeights = float (*)(const float* x, std::int64_t n);
ATTENTA_DECLARE_KERNEL(SumOfWeights, sum_of_weights)

/// x · y
using DotOfWeights = float (*)(const float* x, const float* y, std::int64_t n);
ATTENTA_DECLARE_KERNEL(DotOfWeights, dot_of_weights)

/// to += factor x
using AddWeightedRow = void (*)(const float* x, std::int64_t n, float factor, float* to);
ATTENTA_DECLARE_KERNEL(AddWeightedRow, add_weighted_row)

/// to = x where that is larger than `least`, else 0.
using CutBelow = void (*)(const float* x, std::int64_t n, float least, float* to);
ATTENTA_DECLARE_KERNEL(CutBelow, cut_below)

/// Scores of one query: their mean, Σ (s − mean)², their log-sum-exp, and the entropy of their softmax.
struct ScoreSums {
    float mean = 0, squares = 0, lse = 0, entropy = 0;
};
using SumScores = ScoreSums (*)(const float* s, std::int64_t n);
ATTENTA_DECLARE_KERNEL(SumScores, sum_scores)

/// to = softmax of s, which it may be; log-sum-exp of s, Σ to² and Σ to³ in double precision.
struct PowerSums {
    float lse = 0;
    double squares = 0, cubes = 0;
};
using WeighScores = PowerSums (*)(const float* s, std::int64_t n, float* to);
ATTENTA_DECLARE_KERNEL(WeighScores, weigh_scores)

/// Σ_j |j − i| x_j
using DistanceSum = float (*)(const float* x, std::int64_t n, std::int64_t i);
ATTENTA_DECLARE_KERNEL(DistanceSum, distance_sum)

/// −Σ b log b, b = gain x + floor; 0 log 0 = 0.
using SmoothEntropy = float (*)(const float* x, std::int64_t n, float gain, float floor);
ATTENTA_DECLARE_KERNEL(SmoothEntropy, smooth_entropy)

/// ½ Σ a log(a / m) + ½ Σ b log(b / m), a = gain x + floor, b = gain y + floor, m = (a + b) / 2; 0 log 0 = 0. Terms that nearly
/// vanish come from a series: they lose no digits.
using RowDivergence = float (*)(const float* x, const float* y, std::int64_t n, float gain, float floor);
ATTENTA_DECLARE_KERNEL(RowDivergence, row_divergence)

/// Σ_j a_j log(a_j / b_j), a the softmax of the scores s and b that of `other`: from differences of scores, so that vanished weights do
/// not matter.
using ScoreDivergence = float (*)(const float* s, const float* other, std::int64_t n);
ATTENTA_DECLARE_KERNEL(ScoreDivergence, score_divergence)

/// o = (1 + gain) o + bias
using ScaleAndShift = void (*)(float* o, std::int64_t n, const float* gain, const float* bias);
ATTENTA_DECLARE_KERNEL(ScaleAndShift, scale_and_shift)

/// to = factor x, which may be in place.
using ScaleWeights = void (*)(const float* x, std::int64_t n, float factor, float* to);
ATTENTA_DECLARE_KERNEL(ScaleWeights, scale_weights)

/// Keys [begin, end) belong to `group`.
struct KeyRange {
    std::int64_t begin = 0, end = 0, group = 0;
};

/// Disjoint ranges of keys in ascending order: those of head h are ranges[first[h]] to ranges[first[h + 1] - 1]; without `first` all
/// heads have the same.
struct KeyGroups {
    const KeyRange* ranges = nullptr;
    const std::int64_t* first = nullptr;
    std::int64_t size = 0;   ///< ranges of all heads
    std::int64_t count = 0;  ///< groups; keys of none are group `count`

    const KeyRange* begin(std::int64_t head) const { return first ? ranges + first[head] : ranges; }
    const KeyRange* end(std::int64_t head) const { return first ? ranges + first[head + 1] : ranges + size; }
};

/// mass[head, query, group] += the weights of its keys; [Hq, queries, count + 1].
struct GroupMass {
    KeyGroups groups;
    float* mass;
    std::int64_t queries;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(GroupMass)

/// Weights are multiplied by gain[head, query, group] of their key; a gain of 0 gives 0, whatever the weight. [Hq, queries, count + 1]
struct GroupGain {
    KeyGroups groups;
    const float* gain;
    std::int64_t queries;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(GroupGain)

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/kernels.inl>
#endif
