// One space for the queries and keys of a head, in which near ones attend to each other. Yeh et al. 2023, "AttentionViz: A Global View of
// Transformer Attention", section 4.
//
//   k ← k + mean q − mean k where `center`,   then q ← c q, k ← k / c:   neither changes the attention weights
//   c = factor, or sqrt(mean |k| / mean |q|) after centring: both sides have the same mean norm then
//   correlation = Pearson correlation of q · k with |q − k| over all pairs; 0 where one of them is constant
//
// How the paper searches its factor was not at hand: equal norms are a reading, and `correlation` lets a caller search. Keys are embedded
// for every query head. With rotary positions q and k are the rotated ones. Time Hq·Tq·Tk·D.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

namespace analysis {

struct JointEmbeddingInputs {
    Heads<const float> q, k;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
    }
};

struct JointEmbeddingOptions {
    bool center = true;
    std::optional<double> factor = {};  ///< of the queries, above 0

    static void fields(auto&& visit, auto& o) {
        visit("center", o.center, "keys are moved to the mean of the queries");
        visit("factor", o.factor, "what queries are multiplied by, default from the norms");
    }
};

struct JointEmbeddingOutputs {
    float *embed_q = nullptr, *embed_k = nullptr, *factor = nullptr, *correlation = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("embed_q", out.embed_q, "[Hq, Tq, D]");
        visit("embed_k", out.embed_k, "[Hq, Tk, D]");
        visit("factor", out.factor, "[Hq]");
        visit("correlation", out.correlation, "[Hq]");
    }
};

/// Throws Error on shapes and options that do not fit, a head whose queries are all 0 or, without a factor, whose keys are, and numbers
/// that are not finite; nothing is written then.
void joint_embedding(const JointEmbeddingInputs& x, const JointEmbeddingOutputs& out,
                     const JointEmbeddingOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/joint_embedding.inl>
#endif
