// What the mechanisms of low rank have compiled for each instruction set: sums and products of rows, and the Gaussian kernel.
#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/engine/score/score_edit.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace lowrank {

/// `count` rows of `dim` numbers, `stride` apart.
struct Rows {
    const float* data = nullptr;
    std::int64_t stride = 0, count = 0, dim = 0;
};

/// to = factor · Σ_i weights[i] · rows[i], of the rows themselves where there are no weights; with `add` that is added.
/// Long sums are formed in blocks.
using WeightedSum = void (*)(const Rows& rows, const float* weights, float factor, bool add, float* to);
ATTENTA_DECLARE_KERNEL(WeightedSum, weighted_sum)

/// to[i] = x · rows[i]
using RowProducts = void (*)(const float* x, const Rows& rows, float* to);
ATTENTA_DECLARE_KERNEL(RowProducts, row_products)

/// to[i] = factor · |rows[i]|²
using SquaredNorms = void (*)(const Rows& rows, float factor, float* to);
ATTENTA_DECLARE_KERNEL(SquaredNorms, squared_norms)

/// to[i] = exp(−factor · |x − rows[i]|²), of differences, so that near rows lose no digits. Returns their sum.
using GaussianRow = float (*)(const float* x, const Rows& rows, float factor, float* to);
ATTENTA_DECLARE_KERNEL(GaussianRow, gaussian_row)

/// rows[i] ← exp(log[i]) · rows[i]
using ScaleByExp = void (*)(float* rows, std::int64_t stride, std::int64_t count, std::int64_t dim, const float* log);
ATTENTA_DECLARE_KERNEL(ScaleByExp, scale_by_exp)

/// Scores [heads, tokens], rows `stride` apart, of the heads' rank-one forms.
struct LamaScores {
    float* scores = nullptr;
    std::int64_t stride = 0, heads = 0, tokens = 0;
    const float* gain = nullptr;  ///< [heads]
    bool tanh = false, normalize = false;
};
/// f <- gain f, its tanh, and f / |f| over the heads of a token, where that is wanted.
using FinishLamaScores = void (*)(const LamaScores& scores);
ATTENTA_DECLARE_KERNEL(FinishLamaScores, finish_lama_scores)

/// to[i] = factor · x · rows[keys[i]], in double precision, the same on every instruction set.
using ExactProducts = void (*)(const float* x, const Rows& rows, const std::int32_t* keys, std::int64_t count,
                               double factor, double* to);
ATTENTA_DECLARE_KERNEL(ExactProducts, exact_products)

/// An edit that makes −scale |q − k|² / 2 of scale · q·k, from `query` [heads, queries] and `key` [heads, keys], which are
/// scale |·|² / 2. `key` has room for a vector behind its end.
struct Gaussian {
    const float *query, *key;
    std::int64_t queries, keys;

    template <class Arch>
    void operator()(Tile<Arch> t) const;
};
ATTENTA_DECLARE_EDIT(Gaussian)
/// How many floats may be read behind `key`.
inline constexpr std::int64_t gaussian_room = 16;

}  // namespace lowrank

ATTENTA_END
