// Which sentences of a context matter, from the attention of a prompt's last token. Zhang et al. 2025, "Sentinel: Attention Probing of Proxy
// Models for LLM Context Compression with an Understanding Perspective".
//
//   c_lhj = attn_lhj / max(Σ attn_lh over the context, 1e-8) for keys j of the context
//   features_s = mean of c over the tokens of sentence s, for every head l·H + h
//   probability_s = sigmoid(coef · ((features_s − mean) / std) + intercept); without mean and std features are as they are
//   keep: sentences by probability, descending, as long as their tokens together are at most `budget`; the best one in any case
//
// The row of one query, no full matrix. Time L·H·Tk.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>
#include <optional>
#include <span>

ATTENTA_BEGIN

namespace analysis {

struct SentinelFeaturesInputs {
    DenseTensor<const float, 3> attn;
    std::span<const std::int64_t> sent_start, sent_end;  ///< keys sent_start <= j < sent_end
    std::span<const float> coef = {}, intercept = {};    ///< a logistic probe, both or neither
    std::span<const float> mean = {}, std = {};          ///< of its features, both or neither

    static void list(auto&& visit, auto& x) {
        visit("attn", x.attn, "[L, H, Tk]");
        visit("sent_start", x.sent_start, "[S]");
        visit("sent_end", x.sent_end, "[S]");
        visit("coef", x.coef, "[LH]", Input::optional);
        visit("intercept", x.intercept, "[1]", Input::optional);
        visit("mean", x.mean, "[LH]", Input::optional);
        visit("std", x.std, "[LH]", Input::optional);
    }
};

struct SentinelFeaturesOptions {
    std::int64_t context_start = 0, context_end = 0;  ///< the context's first token and the one behind its last
    std::optional<std::int64_t> budget = {};          ///< tokens that are kept at most; needs a probe

    static void fields(auto&& visit, auto& o) {
        visit("context_start", o.context_start, "first token of the context");
        visit("context_end", o.context_end, "the token behind its last");
        visit("budget", o.budget, "tokens that are kept at most");
    }
};

struct SentinelFeaturesOutputs {
    float *features = nullptr, *probability = nullptr;  ///< probability with a probe
    std::int64_t* keep = nullptr;                       ///< with a budget

    static void list(auto&& visit, auto& out) {
        visit("features", out.features, "[S, LH]");
        visit("probability", out.probability, "[Sp]");
        visit("keep", out.keep, "[Sk]");
    }
    static void sizes(auto&& set, const SentinelFeaturesInputs& x, const SentinelFeaturesOptions& o) {
        set("LH", x.attn.count(0, 2));
        if (!x.coef.empty()) set("Sp", std::ssize(x.sent_start));
        if (!x.coef.empty() && o.budget) set("Sk", std::ssize(x.sent_start));
    }
};

/// Throws Error on shapes and options that do not fit, sentences that are empty or reach beyond the context, half a probe, a std that
/// is not above 0, a budget without a probe, and numbers that are not finite; nothing is written then.
void sentinel_features(const SentinelFeaturesInputs& x, const SentinelFeaturesOutputs& out,
                       const SentinelFeaturesOptions& options, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/sentinel_features.inl>
#endif
