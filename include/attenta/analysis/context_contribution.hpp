// The tokens that a layer looks at, and those that it may drop. Kachuee and Sharifkhani 2022, "Latency Adjustable Transformer Encoder".
//
//   score_lj = Σ_hi attn_lhij / (H T): what token j receives;   contribution_l = T · median_j score_lj
//   keep_l = the first budgets_l of the protected tokens in their order, then of all others by score, descending
//
// Median and factor are a reading of how a layer's number follows. Each layer is ranked on its own. Time L·H·T².
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

struct ContextContributionInputs {
    Weights attn;

    static void list(auto&& visit, auto& x) { visit("attn", x.attn, "[L, H, T, T]"); }
};

struct ContextContributionOptions {
    std::vector<std::int64_t> budgets = {};            ///< needed: tokens that each layer keeps, 1 to T
    std::vector<std::int64_t> protected_tokens = {0};  ///< kept first

    static void fields(auto&& visit, auto& o) {
        visit("budgets", o.budgets, "tokens that each layer keeps, needed");
        visit("protected", o.protected_tokens, "tokens that are kept first");
    }
};

struct ContextContributionOutputs {
    float *score = nullptr, *contribution = nullptr;
    std::int64_t* keep = nullptr;  ///< 1 where a token is kept

    static void list(auto&& visit, auto& out) {
        visit("score", out.score, "[L, T]");
        visit("contribution", out.contribution, "[L]");
        visit("keep", out.keep, "[L, T]");
    }
};

/// Throws Error on weights that are not square or not finite, on budgets and protected tokens that do not fit; nothing is written
/// then.
void context_contribution(const ContextContributionInputs& x, const ContextContributionOutputs& out,
                          const ContextContributionOptions& options, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/context_contribution.inl>
#endif
