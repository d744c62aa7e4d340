// Heads as classifiers: those that tell a few examples apart vote on new ones. Granite Team 2025, Granite Vision, after Mitra et al. 2024,
// Sparse Attention Vectors.
//
//   m_c = mean over the examples of class c of a head's output at the last token,   guess(x) = argmax_c cos(x, m_c)
//   accuracy_h = share of the examples that head h guesses rightly;   heads = the `top` best, the lower of equal ones first
//   votes_c = heads that guess c,   predicted = argmax_c votes_c
//
// Products of norms below 1e-12 count as 1e-12. Time (N + M)·L·H·C·Dv.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <algorithm>
#include <cstdint>
#include <span>

ATTENTA_BEGIN

namespace analysis {

struct AttentionVectorsInputs {
    DenseTensor<const float, 4> support;
    std::span<const std::int64_t> labels;
    DenseTensor<const float, 4> query;

    static void list(auto&& visit, auto& x) {
        visit("support", x.support, "[N, L, H, Dv]");
        visit("labels", x.labels, "[N]");
        visit("query", x.query, "[M, L, H, Dv]");
    }
};

struct AttentionVectorsOptions {
    std::int64_t classes = 2;  ///< labels are 0 .. classes - 1, each of an example at least
    std::int64_t top = 20;     ///< heads that vote; all if there are fewer

    static void fields(auto&& visit, auto& o) {
        visit("classes", o.classes, "number of classes");
        visit("top", o.top, "heads that vote, all if there are fewer");
    }
};

struct AttentionVectorsOutputs {
    float* accuracy = nullptr;
    std::int64_t *heads = nullptr, *votes = nullptr, *predicted = nullptr;

    static void list(auto&& visit, auto& out) {
        visit("accuracy", out.accuracy, "[LH]");
        visit("heads", out.heads, "[S]");
        visit("votes", out.votes, "[M, C]");
        visit("predicted", out.predicted, "[M]");
    }
    static void sizes(auto&& set, const AttentionVectorsInputs& x, const AttentionVectorsOptions& o) {
        const std::int64_t heads = x.support.count(1, 3);
        set("LH", heads);
        set("S", std::min(o.top, heads));
        set("C", o.classes);
    }
};

/// Throws Error on shapes that do not fit, labels that are no class, a class without an example and numbers that are not finite;
/// nothing is written then.
void attention_vectors(const AttentionVectorsInputs& x, const AttentionVectorsOutputs& out,
                       const AttentionVectorsOptions& options = {}, Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/attention_vectors.inl>
#endif
