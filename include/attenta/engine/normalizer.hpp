// What turns a row of scores into weights, block by block. A normaliser is stateless; a row's state is two floats, m and l.
//
//   OnlineSoftmax     running maximum m and denominator l (Milakov and Gimelshein 2018)
//   KnownStatistics   the second pass: m is the row's known lse, weights are exact at once
//
// Row-local normalisers (sigmoid, ReLU², Laplace) are a `weigh` that leaves m and l alone; those that need the whole row
// (sparsemax, entmax) find their threshold in a first pass and are a KnownStatistics of another formula in the second.
#pragma once

#include <attenta/engine/tile/scratch.hpp>
#include <attenta/simd/rows.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>

ATTENTA_BEGIN

namespace tile {

/// s[0 .. n-1] are scores of the block, -inf where not visible, n a multiple of the lanes; s · to_log2 is an exponent of 2.
template <class N>
concept Normalizer = requires(float* s, std::int64_t n, float to_log2, float& m, float& l) {
    /// What the block does to m. On its own, so that the rows of a strip do not wait for each other's maxima.
    { N::next(s, n, m) } -> std::same_as<float>;
    /// Scores become weights, m the `next` one. Returns the factor that what the row has accumulated so far takes.
    { N::weigh(s, n, to_log2, m, m, l) } -> std::same_as<float>;
    /// In the end: what the accumulated output takes, and the row's log-sum-exp.
    { N::output_factor(l) } -> std::same_as<float>;
    { N::log_sum(to_log2, m, l) } -> std::same_as<float>;
};

template <class Arch>
struct OnlineSoftmax {
    static float next(const float* s, std::int64_t n, float m) { return std::max(m, simd::row_max<Arch>(s, n)); }
    static float weigh(float* s, std::int64_t n, float to_log2, float top, float& m, float& l) {
        const float shift = top == minus_infinity ? 0.f : top * to_log2;
        const float sum = simd::row_exp2<Arch>(s, n, to_log2, shift);
        const float alpha = top == m ? 1.f : simd::exp2_nonpositive<Arch>(m * to_log2 - shift);
        l = l * alpha + sum;
        m = top;
        return alpha;
    }
    static float output_factor(float l) { return l == 0.f ? 0.f : 1.f / l; }
    static float log_sum(float to_log2, float m, float l) {
        return l == 0.f ? minus_infinity : m * to_log2 * ln2 + std::log(l);
    }
};

template <class Arch>
struct KnownStatistics {
    static float next(const float*, std::int64_t, float m) { return m; }
    static float weigh(float* s, std::int64_t n, float to_log2, float, float& m, float&) {
        simd::row_exp2<Arch>(s, n, to_log2, m == minus_infinity ? 0.f : m * to_log2);
        return 1.f;
    }
    static float output_factor(float) { return 1.f; }
    static float log_sum(float to_log2, float m, float) { return m * to_log2 * ln2; }
};

}  // namespace tile

ATTENTA_END
