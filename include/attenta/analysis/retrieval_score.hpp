// Which heads copy from a needle in the text: retrieval heads. Wu et al. 2024, "Retrieval Head Mechanistically Explains Long-Context
// Factuality", section 2. From the weights of decoding steps; kv/retrieval_score.hpp gives the same from q and k.
//
//   at step s a head copies if one of its `topk` strongest keys lies in the needle and holds the token that the step produced
//   score     = steps that copy / tokens of the needle
//   score_set = distinct tokens copied / distinct tokens of the needle
//   is_retrieval = score > threshold
//
// Scores over several texts are averaged before they are compared with the threshold. Time S·L·H·Tk.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>
#include <span>

ATTENTA_BEGIN

namespace analysis {

struct RetrievalScoreInputs {
    DenseTensor<const float, 4> attn;  ///< weights of the queries that produce a token, 0 where keys are yet to come
    std::span<const std::int64_t> generated_ids, prompt_ids;

    static void list(auto&& visit, auto& x) {
        visit("attn", x.attn, "[S, L, H, Tk]");
        visit("generated_ids", x.generated_ids, "[S]");
        visit("prompt_ids", x.prompt_ids, "[Tp]");
    }
};

struct RetrievalScoreOptions {
    std::int64_t needle_start = 0, needle_end = 0;  ///< the needle's first token and the one behind its last
    std::int64_t topk = 1;                          ///< strongest keys that count, the lower index first among equals
    double threshold = 0.1;

    static void fields(auto&& visit, auto& o) {
        visit("needle_start", o.needle_start, "first token of the needle");
        visit("needle_end", o.needle_end, "the token behind its last");
        visit("topk", o.topk, "strongest keys that count");
        visit("threshold", o.threshold, "a head with a higher score is a retrieval head");
    }
};

struct RetrievalScoreOutputs {
    float *score = nullptr, *score_set = nullptr;
    std::int64_t* is_retrieval = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("score", out.score, "[L, H]");
        visit("score_set", out.score_set, "[L, H]");
        visit("is_retrieval", out.is_retrieval, "[L, H]");
    }
};

/// Throws Error on shapes and options that do not fit and on weights that are not finite; nothing is written then.
void retrieval_score(const RetrievalScoreInputs& x, const RetrievalScoreOutputs& out,
                     const RetrievalScoreOptions& options, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/retrieval_score.inl>
#endif
