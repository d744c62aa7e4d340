// A prior over keys, and what a predictor says of each of them, for every instruction set.
#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace network {

/// Scores s become log α, and weights α: the softmax over scores >= least.
using PriorOfRow = void (*)(float* s, std::int64_t n, float least, float* weights);
ATTENTA_DECLARE_KERNEL(PriorOfRow, prior_of_row)

/// x ← x − ln Σ e^x
using LogSoftmaxOfRow = void (*)(float* x, std::int64_t n);
ATTENTA_DECLARE_KERNEL(LogSoftmaxOfRow, log_softmax_of_row)

/// Σ e^a (a − b), without terms where e^a is 0.
using DivergenceOfRow = float (*)(const float* a, const float* b, std::int64_t n);
ATTENTA_DECLARE_KERNEL(DivergenceOfRow, divergence_of_row)

/// hidden[n, width] = tanh(query + values[n])
using HiddenRows = void (*)(const float* query, const float* const* values, std::int64_t count, std::int64_t width,
                            float* hidden);
ATTENTA_DECLARE_KERNEL(HiddenRows, hidden_rows)

/// Logits [count, outcomes] of pairs, which become log probabilities. Running sums over blocks of pairs, of each outcome:
/// ln Σ e^{log weight} p is top + ln sum, `expected` is Σ e^{log posterior} ln p.
struct Predictions {
    float* logits = nullptr;
    std::int64_t count = 0, outcomes = 0;
    const float *log_weights = nullptr,
                *log_posterior = nullptr;  ///< [count]; without a null one the sums are left alone
    float *top = nullptr, *sum = nullptr, *expected = nullptr;
};
using MixPredictions = void (*)(const Predictions& block);
ATTENTA_DECLARE_KERNEL(MixPredictions, mix_predictions)

/// to = top + ln sum
using FinishMixture = void (*)(const float* top, const float* sum, float* to, std::int64_t n);
ATTENTA_DECLARE_KERNEL(FinishMixture, finish_mixture)

}  // namespace network

ATTENTA_END
