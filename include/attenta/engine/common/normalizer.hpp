// What turns a row of scores into weights, block by block. A normaliser is stateless; a row's state is two floats, m and l.
//
//   OnlineSoftmax     running maximum m and denominator l (Milakov and Gimelshein 2018)
//   KnownStatistics   the second pass: m and l of the whole row are known, weights are exact at once
//
//   LocalWeights      weights that score edits have made of the scores (sigmoid, ReLU², Laplace): l is their sum
//
// Normalisers of a whole row (sparsemax, entmax) find its threshold between two passes; in the second one the weights are local.
#pragma once

#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/row_statistics.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>

ATTENTA_BEGIN

/// s[r · stride + j], j < n, are scores of a block for row r, -inf where not visible, n a multiple of the lanes. Arrays have
/// an element per row and may be read, not written, a vector further.
template <class N>
concept Normalizer = requires(float* s, std::int64_t rows, std::int64_t n, float* array, RowStatistics row) {
    /// Scores become weights; m and l, the rows' statistics, move on. alpha: what a row has accumulated so far takes it.
    N::update(s, rows, rows, n, array, array, array);
    /// In the end: what the accumulated output takes.
    { N::output_factor(row) } -> std::same_as<float>;
};

/// The step of the online softmax, with rows in the lanes of vectors. All of it subtracts first and multiplies then: a
/// maximum that stays leaves alpha = 1 to the bit, and scores may be any floats.
template <class Arch>
struct OnlineStep {
    using Batch = simd::Batch<Arch>;
    Batch max, shift, alpha;  ///< the new maxima, what scores are taken relative to, and what older sums take

    /// `top`: the largest scores of a block.
    ATTENTA_ALWAYS_INLINE OnlineStep(Batch before, Batch top)
        : max(simd::max<Arch>(top, before)),
          shift(xsimd::select(max == Batch(minus_infinity), Batch(0.f), max)),
          alpha(xsimd::select(max == before, Batch(1.f), simd::exp_weight<Arch>(before - shift))) {}

    ATTENTA_ALWAYS_INLINE Batch weight(Batch s) const { return simd::exp_weight<Arch>(s - shift); }
    ATTENTA_ALWAYS_INLINE Batch sum(Batch before, Batch of_block) const {
        return simd::fma<Arch>(before, alpha, of_block);
    }
};

template <class Arch>
class OnlineSoftmax {
    using Batch = simd::Batch<Arch>;
    static constexpr std::int64_t L = simd::lanes<Arch>;

public:
    static void update(float* s, std::int64_t stride, std::int64_t rows, std::int64_t n, float* m, float* l,
                       float* alpha) {
        for (std::int64_t r = 0; r < rows; r += L)
            update_lanes(s + r * stride, stride, std::min(L, rows - r), n, m + r, l + r, alpha + r);
    }
    static float output_factor(RowStatistics row) { return row.output_factor(); }

private:
    /// A row's statistics are in its lane.
    static void update_lanes(float* s, std::int64_t stride, std::int64_t rows, std::int64_t n, float* m, float* l,
                             float* alpha) {
        Batch part[static_cast<std::size_t>(L)];
        for (std::int64_t r = 0; r < L; ++r)
            part[r] = r < rows ? simd::lane_max<Arch>(s + r * stride, n) : Batch(minus_infinity);
        const OnlineStep<Arch> step(simd::load<Arch>(m), simd::max_of_rows<Arch>(part));
        float shift[static_cast<std::size_t>(L)];
        step.shift.store_unaligned(shift);
        for (std::int64_t r = 0; r < L; ++r)
            part[r] = r < rows ? simd::row_weights<Arch>(s + r * stride, n, shift[r],
                                                         [](Batch p) ATTENTA_FLATTEN { return p; })
                               : Batch(0.f);
        put(step.max, rows, m);
        put(step.sum(simd::load<Arch>(l), simd::reduce_rows<Arch>(part)), rows, l);
        put(step.alpha, rows, alpha);
    }

    static void put(Batch x, std::int64_t rows, float* to) {
        float lane[static_cast<std::size_t>(L)];
        x.store_unaligned(lane);
        std::copy_n(lane, rows, to);
    }
};

/// The second pass: m and l are the whole row's from the first one, and weights exact at once.
template <class Arch>
struct KnownStatistics {
    static void update(float* s, std::int64_t stride, std::int64_t rows, std::int64_t n, const float* m, const float* l,
                       float* alpha) {
        for (std::int64_t r = 0; r < rows; ++r) {
            const simd::Batch<Arch> factor(RowStatistics{m[r], l[r]}.output_factor());
            simd::row_weights<Arch>(s + r * stride, n, m[r] == minus_infinity ? 0.f : m[r],
                                    [factor](simd::Batch<Arch> p) ATTENTA_FLATTEN { return p * factor; });
        }
        std::fill_n(alpha, rows, 1.f);
    }
    static float output_factor(RowStatistics) { return 1.f; }
};

/// Weights that score edits have made: they stay as they are, and -inf, where a key is hidden, becomes 0.
template <class Arch>
struct LocalWeights {
    using Batch = simd::Batch<Arch>;

    static void update(float* s, std::int64_t stride, std::int64_t rows, std::int64_t n, const float*, float* l,
                       float* alpha) {
        for (std::int64_t r = 0; r < rows; ++r) {
            Batch sum(0.f);
            for (float* p = s + r * stride; p < s + r * stride + n; p += simd::lanes<Arch>) {
                const Batch w = weight(simd::load<Arch>(p));
                w.store_unaligned(p);
                sum = sum + w;
            }
            l[r] += simd::reduce_add<Arch>(sum);
        }
        std::fill_n(alpha, rows, 1.f);
    }
    static ATTENTA_ALWAYS_INLINE Batch weight(Batch s) {
        return xsimd::select(s == Batch(minus_infinity), Batch(0.f), s);
    }
    static float output_factor(RowStatistics) { return 1.f; }
};

ATTENTA_END
