// Which heads copy from a needle in the text: retrieval heads. Wu et al. 2024, "Retrieval Head Mechanistically Explains Long-Context
// Factuality", section 2.
//
//   at position i, which produces token i + 1, a head copies if one of its `topk` strongest keys lies in the needle and holds
//   that token
//   score     = such positions / tokens of the needle          from 0.1 on a retrieval head
//   score_set = distinct tokens copied / distinct tokens of the needle
//
// Scores over several texts are averaged. Time Hq·(T − prompt)·T·D; scores of all queries are never in memory at once.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>

ATTENTA_BEGIN

/// q, k and tokens of all T tokens, the first `prompt` of which were given and the others produced.
struct RetrievalScoreInputs {
    Heads<const float> q, k;
    std::span<const std::int64_t> tokens;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", x.k, "[Hkv, T, D]");
        visit("tokens", x.tokens, "[T]");
    }
};

struct RetrievalScoreOptions {
    std::int64_t prompt = 1;                      ///< tokens before decoding begins
    std::array<std::int64_t, 2> needle = {0, 0};  ///< its first token and the one behind its last
    std::int64_t topk = 1;                        ///< strongest keys that count
    std::optional<float> scale = {};              ///< of q·k, default 1/sqrt(D)

    static void fields(auto&& visit, auto& o) {
        visit("prompt", o.prompt, "tokens before decoding begins");
        visit("needle", o.needle, "its first token and the one behind its last");
        visit("topk", o.topk, "strongest keys that count");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

struct RetrievalScoreOutputs {
    float* score = nullptr;      ///< [Hq]
    float* score_set = nullptr;  ///< [Hq] or null
};

/// Throws Error on shapes and options that do not fit; nothing is written then. NaN is stronger than any key.
void retrieval_score(const RetrievalScoreInputs& x, const RetrievalScoreOutputs& out,
                     const RetrievalScoreOptions& options, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/common/inputs.inl>
#include <attenta/kv/retrieval_score.inl>
#endif
