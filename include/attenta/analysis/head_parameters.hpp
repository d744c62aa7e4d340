// What the weights of heads map tokens to (MAPS). Elhelo and Geva 2025, "Inferring Functionality of Attention Heads from their
// Parameters", section 3.
//
//   moved_n  = e_n W_V W_O of query head h,   logits_n = moved_n U
//   rank_n   = tokens before the target of n in descending order of logits_n,   low_n = those in ascending order
//   relation_score = share of n with rank_n < k,   suppression_score = share of n with low_n < k
//   amplification_n = |moved_n| / |e_n|
//
// e_n are rows of the embedding, or what the first feed-forward block makes of them; the last norm is left out. Equal logits keep the
// order of the tokens. Time Hq·N·d·(Dv + V); the logits of some rows are in memory at a time.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>
#include <span>

ATTENTA_BEGIN

namespace analysis {

struct HeadParametersInputs {
    DenseTensor<const float, 2> embeddings;  ///< of the source tokens
    DenseTensor<const float, 3> w_v, w_o;
    DenseTensor<const float, 2> unembed;
    std::span<const std::int64_t> targets;  ///< tokens that the relation maps the sources to

    static void list(auto&& visit, auto& x) {
        visit("embeddings", x.embeddings, "[N, d]");
        visit("w_v", x.w_v, "[Hkv, d, Dv]");
        visit("w_o", x.w_o, "[Hq, Dv, d]");
        visit("unembed", x.unembed, "[d, V]");
        visit("targets", x.targets, "[N]");
    }
};

struct HeadParametersOptions {
    std::int64_t k = 10;   ///< a target among so many tokens counts, 1 to V; the paper takes 1 for copying
    std::int64_t top = 3;  ///< tokens that are listed, 1 to V

    static void fields(auto&& visit, auto& o) {
        visit("k", o.k, "a target among so many tokens counts");
        visit("top", o.top, "tokens that are listed");
    }
};

struct HeadParametersOutputs {
    float *relation_score = nullptr, *suppression_score = nullptr, *amplification = nullptr;
    std::int64_t *rank = nullptr, *top_tokens = nullptr;  ///< rank 0 is the top

    static void list(auto&& visit, auto& out) {
        visit("relation_score", out.relation_score, "[Hq]");
        visit("suppression_score", out.suppression_score, "[Hq]");
        visit("rank", out.rank, "[Hq, N]");
        visit("amplification", out.amplification, "[Hq, N]");
        visit("top_tokens", out.top_tokens, "[Hq, N, S]");
    }
    /// Not of a `top` that is refused.
    static void sizes(auto&& set, const HeadParametersInputs& x, const HeadParametersOptions& o) {
        if (o.top > 0 && o.top <= x.unembed.size(1)) set("S", o.top);
    }
};

/// Throws Error on shapes and options that do not fit, targets outside the vocabulary, embeddings of zeros alone, and numbers that are
/// not finite; nothing is written then.
void head_parameters(const HeadParametersInputs& x, const HeadParametersOutputs& out,
                     const HeadParametersOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/head_parameters.inl>
#endif
