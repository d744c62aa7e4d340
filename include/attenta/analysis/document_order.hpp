// Which document goes where in a prompt. Peysakhovich and Lerer 2023, "Attention Sorting Combats Recency Bias in Long Context Language
// Models"; Yi et al. 2025, "Attention Basin: Why Contextual Position Matters in Large Language Models" (AttnRank).
//
//   sort: score_d = mean over layers and heads of Σ_j attn_lhj, j in document d, by the weights of the first generated token
//         order = documents by score, descending; with best_last reversed as a whole, the best one next to the question
//   rank: score_p = mean over probes, chosen layers and heads of the attention that position p received
//         the n-th position by score gets the n-th document by relevance, both descending
//
// order[p] is the document that goes to position p. Of equal ones the lower index counts as the larger. Attention sorting reorders the
// prompt and repeats; a call is one round. Time L·H·Tk + K log K.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

enum class DocumentOrder : std::uint8_t { sort, rank };
constexpr std::array<std::string_view, 2> names_of(DocumentOrder) { return {"sort", "rank"}; }

struct DocumentOrderInputs {
    DenseTensor<const float, 3> attn = {};                       ///< sort
    std::span<const std::int64_t> doc_start = {}, doc_end = {};  ///< sort: keys doc_start <= j < doc_end, disjoint
    DenseTensor<const float, 4> position_attn = {};              ///< rank
    std::span<const float> relevance = {};                       ///< rank

    static void list(auto&& visit, auto& x) {
        visit("attn", x.attn, "[L, H, Tk]", Input::optional);
        visit("doc_start", x.doc_start, "[K]", Input::optional);
        visit("doc_end", x.doc_end, "[K]", Input::optional);
        visit("position_attn", x.position_attn, "[N, L, H, K]", Input::optional);
        visit("relevance", x.relevance, "[K]", Input::optional);
    }
};

struct DocumentOrderOptions {
    DocumentOrder method = DocumentOrder::sort;
    bool best_last = true;                                 ///< sort: the best document at the end
    std::optional<std::vector<std::int64_t>> layers = {};  ///< rank: of the profile, default all

    static void fields(auto&& visit, auto& o) {
        visit("method", o.method, "sort or rank: by attention received, or to where the model looks");
        visit("best_last", o.best_last, "sort: the best document at the end");
        visit("layers", o.layers, "rank: layers of the profile, default all");
    }
};

struct DocumentOrderOutputs {
    float* score = nullptr;  ///< rank: the profile of the positions
    std::int64_t* order = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("score", out.score, "[K]");
        visit("order", out.order, "[K]");
    }
};

/// Throws Error on shapes and options that do not fit, inputs of the method that are missing, documents that are empty, reach beyond
/// the keys or overlap, and numbers that are not finite; nothing is written then.
void document_order(const DocumentOrderInputs& x, const DocumentOrderOutputs& out,
                    const DocumentOrderOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/document_order.inl>
#endif
