// Kernels of mechanisms with structured inputs: labels, features, modulations, dictionaries.
#pragma once

#include <attenta/core/view.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace structured {

/// to = (z − mean z) / (deviation + eps) · gain + shift with z = a + b; the deviation has n − ddof in its divisor.
struct NormalisedSum {
    const float *a = nullptr, *b = nullptr, *gain = nullptr, *shift = nullptr;
    std::int64_t n = 0, ddof = 0;
    float eps = 0;
};
using NormaliseSum = void (*)(const NormalisedSum& sum, float* to);
ATTENTA_DECLARE_KERNEL(NormaliseSum, normalise_sum)

/// Σ_c v[c] y[c] with y = σ(a + a_shift) x, or x (a + a_shift) + (b + b_shift), or the tanh of that.
struct ConditionedRow {
    enum Kind : std::uint8_t { gate, affine, affine_tanh };
    Kind kind = gate;
    const float *x = nullptr, *a = nullptr, *a_shift = nullptr, *b = nullptr, *b_shift = nullptr, *v = nullptr;
    std::int64_t n = 0;
};
using ScoreConditioned = float (*)(const ConditionedRow& row);
ATTENTA_DECLARE_KERNEL(ScoreConditioned, score_conditioned)

/// to = the mean of `count` rows, in blocks.
using MeanOfRows = void (*)(const float* x, std::int64_t stride, std::int64_t count, std::int64_t n, float* to);
ATTENTA_DECLARE_KERNEL(MeanOfRows, mean_of_rows)

/// r ← MOD(r, (a + b) / 2): min(max(r² + 2r + c (1 + |r|), 0), 6), or r + r c with `product`.
using CooperateRow = void (*)(float* r, const float* a, const float* b, std::int64_t n, bool product);
ATTENTA_DECLARE_KERNEL(CooperateRow, cooperate_row)

/// What a latent token makes of others: x + factor ⊙ y, or x² + 2x + factor where there is no y.
struct Modulation {
    const float* factor = nullptr;
    Heads<const float> x, y;
};
/// The row of a token.
using ModulateRow = void (*)(const Modulation& m, std::int64_t head, std::int64_t token, float* to);
ATTENTA_DECLARE_KERNEL(ModulateRow, modulate_row)
/// Channels [begin, begin + count), at most 16, of all tokens: to[channel · stride + token]; `rows` has room for 16 · 16.
using ModulateColumns = void (*)(const Modulation& m, std::int64_t head, std::int64_t begin, std::int64_t count,
                                 float* rows, float* to, std::int64_t stride);
ATTENTA_DECLARE_KERNEL(ModulateColumns, modulate_columns)

/// to = q ⊙ k ⊙ (1 + |v|)
using LatentFactor = void (*)(const float* q, const float* k, const float* v, std::int64_t n, float* to);
ATTENTA_DECLARE_KERNEL(LatentFactor, latent_factor)

/// o ← (1 + gain) ⊙ o + factor · offset, gain may be null; with `replace` factor · offset.
struct RowOffset {
    const float *gain = nullptr, *offset = nullptr;
    float factor = 1;
    bool replace = false;
    std::int64_t n = 0;
};
using OffsetRow = void (*)(const RowOffset& offset, float* o);
ATTENTA_DECLARE_KERNEL(OffsetRow, offset_row)

/// A time t/L as the sum of 12 bits and what is left.
struct SpectralTime {
    float whole, high, low;
};
/// Atoms [atoms, channels], and their slopes or nothing.
struct SpectralAtoms {
    Matrices<const float> amplitude, frequency, phase, amplitude_slope, frequency_slope, phase_slope;
};
/// o[t] = Σ_k coefficients[t, k] (A + A' x) sin(2π (F + F' x) x + Φ + Φ' x) for `tokens` rows, x their times.
struct SpectralRows {
    const SpectralAtoms* atoms = nullptr;
    const float* coefficients = nullptr;
    const SpectralTime* times = nullptr;
    std::int64_t coefficient_stride = 0, tokens = 0, stride = 0;
};
using SumAtoms = void (*)(const SpectralRows& rows, float* o);
ATTENTA_DECLARE_KERNEL(SumAtoms, sum_atoms)

}  // namespace structured

ATTENTA_END
