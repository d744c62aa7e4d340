// Which heads of cross-attention stand for which visual concept: head relevance vectors. Park et al. 2025, "Cross-Attention Head Position
// Patterns Can Align with Human Visual Concepts in Text-to-Image Generative Models", section 3.
//
//   strength_nhc = mean over the words w of concept c and over the image positions r of attn_nhrw
//   count_hc = samples in which c has the largest strength, the lowest of equal ones,   share_hc = count_hc / Σ_c count_hc
//   relevance_ch = H share_hc / Σ_h share_hc: a row sums to H, or is 0 where no head ever chose the concept
//
// One vote per head and sample. Samples are prompts × steps, heads all cross-attention heads of the model. Time N·H·R·W.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>
#include <span>

ATTENTA_BEGIN

namespace analysis {

struct HeadRelevanceInputs {
    Weights attn;
    std::span<const std::int64_t> word_concept;  ///< 0 .. concepts - 1, -1 for words of none

    static void list(auto&& visit, auto& x) {
        visit("attn", x.attn, "[N, H, R, W]");
        visit("word_concept", x.word_concept, "[W]");
    }
};

struct HeadRelevanceOptions {
    std::int64_t concepts = 1;  ///< each of a word at least

    static void fields(auto&& visit, auto& o) { visit("concepts", o.concepts, "number of concepts"); }
};

struct HeadRelevanceOutputs {
    std::int64_t* count = nullptr;
    float* relevance = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("count", out.count, "[H, C]");
        visit("relevance", out.relevance, "[C, H]");
    }
    /// Not of numbers of concepts that are refused.
    static void sizes(auto&& set, const HeadRelevanceInputs& x, const HeadRelevanceOptions& o) {
        if (o.concepts > 0 && o.concepts <= std::ssize(x.word_concept)) set("C", o.concepts);
    }
};

/// Throws Error on shapes that do not fit, words of no such concept, a concept without a word, and weights that are not finite;
/// nothing is written then.
void head_relevance(const HeadRelevanceInputs& x, const HeadRelevanceOutputs& out, const HeadRelevanceOptions& options,
                    Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/head_relevance.inl>
#endif
