// How alike the attention of tokens is. Guo et al. 2023, "Robustifying Token Attention for Vision Transformers" (attention
// diversification loss).
//
//   a = mean over the heads of attn_l,   m = mean over the queries of a,   cut(x) = x where x > threshold / Tk, else 0
//   row_similarity_li = cos(cut(m), cut(a_i)),   layer_similarity_l = their mean,   similarity = Σ_l layer_similarity_l / (L + 1e-6)
//   pairwise_lh = mean over queries i ≠ i' of cos(attn_lhi, attn_lhi'), without a cut; 0 for one query
//
// Products of norms below 1e-8 count as 1e-8 in row_similarity; rows of zeros have the cosine 0. pairwise comes from the sum of unit
// rows: (|Σ_i u_i|² − rows that are not 0) / (T (T − 1)). Time L·H·T·Tk.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace analysis {

struct DiversityInputs {
    Weights attn;

    static void list(auto&& visit, auto& x) { visit("attn", x.attn, "[L, H, T, Tk]"); }
};

struct DiversityOptions {
    double threshold = 2;  ///< multiples of the uniform weight

    static void fields(auto&& visit, auto& o) {
        visit("threshold", o.threshold, "weights up to this multiple of the uniform weight count as 0");
    }
};

struct DiversityOutputs {
    float *row_similarity = nullptr, *layer_similarity = nullptr, *similarity = nullptr, *pairwise = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("row_similarity", out.row_similarity, "[L, T]");
        visit("layer_similarity", out.layer_similarity, "[L]");
        visit("similarity", out.similarity, "[1]");
        visit("pairwise", out.pairwise, "[L, H]");
    }
};

/// Throws Error on shapes that do not fit and a threshold below 0; nothing is written then.
void diversity(const DiversityInputs& x, const DiversityOutputs& out, const DiversityOptions& options = {},
               Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/diversity.inl>
#endif
