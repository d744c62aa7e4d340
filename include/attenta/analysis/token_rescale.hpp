// Attention whose weights on chosen keys are multiplied by a factor per head. Park et al. 2025, "Cross-Attention Head Position Patterns
// Can Align with Human Visual Concepts", sections 4-5: concepts are strengthened and weakened by the keys of their words.
//
//   a'_ij = factor_h a_ij for keys of key_mask, a_ij for others;   row_sum_i = Σ_j a'_ij;   renormalize: a'_ij /= row_sum_i
//   o_i = Σ_j a'_ij v_j
//
// Factors may be negative, so this is no bias of scores. Three passes over the keys: statistics, mass of the chosen keys, output.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>
#include <optional>
#include <span>

ATTENTA_BEGIN

namespace analysis {

struct TokenRescaleInputs {
    Heads<const float> q;
    KvView kv;
    std::span<const std::int64_t> key_mask;  ///< other than 0: a chosen key
    std::span<const float> factor;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("key_mask", x.key_mask, "[Tk]");
        visit("factor", x.factor, "[Hq]");
    }
};

struct TokenRescaleOptions {
    bool renormalize = false;         ///< rows sum to 1 again
    bool causal = false;              ///< query i sees keys j <= i, the last query all
    std::optional<float> scale = {};  ///< of q·k, default 1/sqrt(D)

    static void fields(auto&& visit, auto& o) {
        visit("renormalize", o.renormalize, "rows sum to 1 again");
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

struct TokenRescaleOutputs {
    Heads<float> o;
    float *lse = nullptr, *row_sum = nullptr;  ///< lse of the scores as they were

    static void list(auto&& visit, auto& out) {
        visit("o", out.o, "[Hq, Tq, Dv]");
        visit("lse", out.lse, "[Hq, Tq]");
        visit("row_sum", out.row_sum, "[Hq, Tq]");
    }
};

/// Throws Error on shapes and options that do not fit, a factor that is not finite, and, to be renormalised, on a row whose sum is
/// 1e-6 or less in absolute value; nothing is written then.
void token_rescale(const TokenRescaleInputs& x, const TokenRescaleOutputs& out, const TokenRescaleOptions& options = {},
                   Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/token_rescale.inl>
#endif
