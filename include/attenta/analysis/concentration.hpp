// How concentrated attention is. Nahshan et al. 2024, "Linear Log-Normal Attention with Unbiased Concentration", section 3.
//
//   entropy_i = −Σ_j a_ij log a_ij over the visible keys j,   log_mean, log_variance: of log a_ij = s_ij − lse_i over all visible pairs
//   score_variance: of s_ij over them,   temperature = 1 / sqrt(score_variance)
//   gaussian_temperature = 1 / (scale · sqrt(D) · std(q_h) · std(k_g)), std over all numbers of a head
//   spectral_gap = 1 − |λ_2|, the second largest eigenvalue of the weights of a square attention; λ_1 = 1
//
// Scores are natural logits, weights are never formed: neither small ones nor their logarithms are lost. Time Hq·Tq·Tk·D, memory for
// the scores of a few queries; the gap takes Hq·T³, or Hq·T²·D where it is causal: eigenvalues stand on the diagonal then.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

namespace analysis {

struct ConcentrationInputs {
    Heads<const float> q, k;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
    }
};

struct ConcentrationOptions {
    bool causal = false;              ///< query i sees keys j <= i, the last query all
    std::optional<float> scale = {};  ///< of q·k, not 0; default 1/sqrt(D)

    static void fields(auto&& visit, auto& o) {
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

struct ConcentrationOutputs {
    float *entropy = nullptr, *lse = nullptr, *mean_entropy = nullptr, *log_mean = nullptr, *log_variance = nullptr,
          *score_variance = nullptr, *temperature = nullptr, *gaussian_temperature = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("entropy", out.entropy, "[Hq, Tq]");
        visit("lse", out.lse, "[Hq, Tq]");
        visit("mean_entropy", out.mean_entropy, "[Hq]");
        visit("log_mean", out.log_mean, "[Hq]");
        visit("log_variance", out.log_variance, "[Hq]");
        visit("score_variance", out.score_variance, "[Hq]");
        visit("temperature", out.temperature, "[Hq]");
        visit("gaussian_temperature", out.gaussian_temperature, "[Hq]");
    }
};

/// Throws Error on shapes and options that do not fit, on more causal queries than keys, and where a temperature is wanted of
/// numbers that are all equal; nothing is written then.
void concentration(const ConcentrationInputs& x, const ConcentrationOutputs& out,
                   const ConcentrationOptions& options = {}, Context& context = default_context());

struct SpectralGapOutputs {
    float* spectral_gap = nullptr;

    static void list(auto&& visit, auto& out) { visit("spectral_gap", out.spectral_gap, "[Hq]"); }
};

/// The spectral gaps of square attentions, in double precision; compiled library only. Throws Error as concentration does, and on
/// Tq != Tk, T < 2 and numbers that are not finite.
void spectral_gap(const ConcentrationInputs& x, const SpectralGapOutputs& out, const ConcentrationOptions& options = {},
                  Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/concentration.inl>
#endif
