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

/// s[r · stride + j], j < n, are scores of a block for row r, -inf where not visible, n a multiple of the lanes;
/// s · to_log2 is an exponent of 2. Arrays have an element per row and may be read, not written, a vector further.
template <class N>
concept Normalizer = requires(float* s, std::int64_t rows, std::int64_t n, float to_log2, float* array, float l) {
    /// Scores become weights; m and l, the rows' statistics, move on. alpha: what a row has accumulated so far takes it.
    N::weigh(s, rows, rows, n, to_log2, array, array, array);
    /// In the end: what the accumulated output takes, and the row's log-sum-exp.
    { N::output_factor(l) } -> std::same_as<float>;
    { N::log_sum(to_log2, l, l) } -> std::same_as<float>;
};

template <class Arch>
class OnlineSoftmax {
    using Batch = simd::Batch<Arch>;
    static constexpr std::int64_t L = simd::lanes<Arch>;

public:
    static void weigh(float* s, std::int64_t stride, std::int64_t rows, std::int64_t n, float to_log2, float* m,
                      float* l, float* alpha) {
        for (std::int64_t r = 0; r < rows; r += L)
            weigh_lanes(s + r * stride, stride, std::min(L, rows - r), n, to_log2, m + r, l + r, alpha + r);
    }
    static float output_factor(float l) { return l == 0.f ? 0.f : 1.f / l; }
    static float log_sum(float to_log2, float m, float l) {
        return l == 0.f ? minus_infinity : m * to_log2 * ln2 + std::log(l);
    }

private:
    /// A row's statistics are in its lane.
    static void weigh_lanes(float* s, std::int64_t stride, std::int64_t rows, std::int64_t n, float to_log2, float* m,
                            float* l, float* alpha) {
        Batch part[static_cast<std::size_t>(L)];
        for (std::int64_t r = 0; r < L; ++r)
            part[r] = r < rows ? simd::row_tops<Arch>(s + r * stride, n) : Batch(minus_infinity);
        const Batch before = simd::load<Arch>(m), now = simd::at_least<Arch>(simd::largest_of_rows<Arch>(part), before),
                    shift = xsimd::select(now == Batch(minus_infinity), Batch(0.f), now * Batch(to_log2)),
                    worth = xsimd::select(now == before, Batch(1.f),
                                          simd::exp2_nonpositive<Arch>(before * Batch(to_log2) - shift));
        float shifts[static_cast<std::size_t>(L)];
        shift.store_unaligned(shifts);
        for (std::int64_t r = 0; r < L; ++r)
            part[r] = r < rows ? simd::row_exp2<Arch>(s + r * stride, n, to_log2, shifts[r]) : Batch(0.f);
        put(now, rows, m);
        put(simd::fma<Arch>(simd::load<Arch>(l), worth, simd::reduce_rows<Arch>(part)), rows, l);
        put(worth, rows, alpha);
    }

    static void put(Batch x, std::int64_t rows, float* to) {
        float lane[static_cast<std::size_t>(L)];
        x.store_unaligned(lane);
        std::copy_n(lane, rows, to);
    }
};

template <class Arch>
struct KnownStatistics {
    static void weigh(float* s, std::int64_t stride, std::int64_t rows, std::int64_t n, float to_log2, const float* m,
                      float*, float* alpha) {
        for (std::int64_t r = 0; r < rows; ++r)
            simd::row_exp2<Arch>(s + r * stride, n, to_log2, m[r] == minus_infinity ? 0.f : m[r] * to_log2);
        std::fill_n(alpha, rows, 1.f);
    }
    static float output_factor(float) { return 1.f; }
    static float log_sum(float to_log2, float m, float) { return m * to_log2 * ln2; }
};

}  // namespace tile

ATTENTA_END
