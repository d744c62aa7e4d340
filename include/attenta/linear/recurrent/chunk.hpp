// What memories with a decay per token share that go in chunks of their own: decays inside a chunk, pairs of its tokens, rows.
#pragma once

#include <attenta/core/view.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/dense/pieces.hpp>
#include <attenta/engine/kernel.hpp>

#include <cmath>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace detail {

/// Of n tokens, products of exp g.
struct ChunkDecays {
    float* from_start = nullptr;  ///< [n] up to the token, its own included
    float* to_end = nullptr;      ///< [n] behind the token
    float* between = nullptr;     ///< [n, n] from behind token s to token t, row t; zeros where s > t
    std::int64_t stride = 0;      ///< of `between`

    ChunkDecays(Arena& arena, std::int64_t n) : stride(n) {
        from_start = arena.take<float>(n);
        to_end = arena.take<float>(n);
        between = arena.take<float>(n * n);
    }
};
/// Bounds the gates g [n] from below, where the exponential is 0, and fills `to`.
using ChunkDecaysFunction = void (*)(float* g, std::int64_t n, const ChunkDecays& to);
ATTENTA_DECLARE_KERNEL(ChunkDecaysFunction, chunk_decays)

/// Products of queries and keys, rows [groups · n] of n: row i is multiplied by row i % n of `weights`, zeros where a key
/// comes later.
struct TokenPairs {
    float* pairs = nullptr;
    const float* weights = nullptr;
    std::int64_t stride = 0, weights_stride = 0, n = 0, groups = 1;
};
using TokenPairsFunction = void (*)(const TokenPairs& pairs);
ATTENTA_DECLARE_KERNEL(TokenPairsFunction, weigh_token_pairs)

/// y = factor · factors_r · x, or added to y, rows of `dim`; y may be x.
struct ScaledRows {
    const float* x = nullptr;
    std::int64_t x_stride = 0;
    float* y = nullptr;
    std::int64_t y_stride = 0, rows = 0, dim = 0;
    const float* factors = nullptr;  ///< [rows], null: 1
    float factor = 1;
    bool add = false;
};
using ScaleRows = void (*)(const ScaledRows& rows);
ATTENTA_DECLARE_KERNEL(ScaleRows, scale_rows)

/// How many of the first rows are finite.
using CountFiniteRows = std::int64_t (*)(const float* x, std::int64_t stride, std::int64_t rows, std::int64_t dim);
ATTENTA_DECLARE_KERNEL(CountFiniteRows, count_finite_rows)

/// Tokens begin .. of a head that may be summed together: up to the first one that is not finite, where 0 · NaN would reach
/// rows before it; at least one, at most n.
inline std::int64_t tokens_to_sum(Heads<const float> x, std::int64_t head, std::int64_t begin, std::int64_t n) {
    const std::int64_t finite = count_finite_rows()(x.row(head, begin), x.token_stride, n, x.dim);
    return finite > 0 ? finite : 1;
}
/// The same of gates, where −∞ is a number.
inline std::int64_t gates_to_sum(Heads<const float> g, std::int64_t head, std::int64_t begin, std::int64_t n) {
    std::int64_t i = 0;
    while (i < n && g.row(head, begin + i)[0] <= std::numeric_limits<float>::max()) ++i;
    return i > 0 ? i : 1;
}

}  // namespace detail

ATTENTA_END
