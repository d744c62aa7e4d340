// Whether the keys that a query selects stand apart from the others. Mudarisov et al. 2025, "Limitations of Normalization in Attention
// Mechanism".
//
//   I = the top_n visible keys of largest weight, all if they are fewer;   s = Σ_{j in I} α_j v_j
//   distance = |Σ_{j not in I} α_j v_j − s|
//   separable = share of j in I with |α_j v_j − s| <= min_{j not in I} |α_j v_j − s|, which is infinite where I is everything
//   log_lower, log_upper = −log n ∓ 2 Δ,   Δ = |scale| |q_i| max_j |k_j|,   n = number of visible keys: bounds of every log α_j
//   sensitivity = |diag(α) − α αᵀ| = sqrt(S2 − 2 S3 + S2²), S_p = Σ_j α_j^p: that of the weights to the scaled scores
//
// The ball of `separable` is a reading. Time Hq·Tq·Tk·(D + 2 Dv), memory for the scores of a few queries.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

namespace analysis {

struct SeparabilityInputs {
    Heads<const float> q, k, v;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
    }
};

struct SeparabilityOptions {
    std::int64_t top_n = 1;           ///< keys that a query selects, at least 1
    bool causal = false;              ///< query i sees keys j <= i, the last query all
    std::optional<float> scale = {};  ///< of q·k, default 1/sqrt(D)

    static void fields(auto&& visit, auto& o) {
        visit("top_n", o.top_n, "keys that a query selects");
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

struct SeparabilityOutputs {
    float *distance = nullptr, *separable = nullptr, *sensitivity = nullptr, *log_lower = nullptr, *log_upper = nullptr,
          *lse = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("distance", out.distance, "[Hq, Tq]");
        visit("separable", out.separable, "[Hq, Tq]");
        visit("sensitivity", out.sensitivity, "[Hq, Tq]");
        visit("log_lower", out.log_lower, "[Hq, Tq]");
        visit("log_upper", out.log_upper, "[Hq, Tq]");
        visit("lse", out.lse, "[Hq, Tq]");
    }
};

/// Throws Error on shapes and options that do not fit, on more causal queries than keys, and on numbers that are not finite; nothing
/// is written then.
void separability(const SeparabilityInputs& x, const SeparabilityOutputs& out, const SeparabilityOptions& options = {},
                  Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/separability.inl>
#endif
