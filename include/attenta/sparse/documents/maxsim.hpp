// Late interaction of a query with documents of many vectors: for each query vector the best of a document's, summed. Khattab and
// Zaharia 2020, "ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over BERT", eq. 3.
//
//   score_b = Σ_i max(floor, max_{j ∈ document b} sim(q_i, d_j)),  sim(q, d) = q·d or −‖q − d‖²
//
// Vectors are used as they are: normalise them before. Time Tq·N·D; similarities are never all in memory.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/error.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class MaxsimSimilarity : std::uint8_t { dot, l2 };
constexpr std::array<std::string_view, 2> names_of(MaxsimSimilarity) { return {"dot", "l2"}; }

/// Document b has the rows doc_ptr[b] .. doc_ptr[b + 1] - 1 of d, at least one.
struct MaxsimInputs {
    Matrices<const float> q, d;
    std::span<const std::int64_t> doc_ptr;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Tq, D]");
        visit("d", x.d, "[N, D]");
        visit("doc_ptr", x.doc_ptr, "[P]");
    }
};

struct MaxsimOptions {
    MaxsimSimilarity similarity = MaxsimSimilarity::dot;
    std::optional<float> floor = {};  ///< least that a query vector's best counts, default none
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("similarity", o.similarity, "dot, or l2: minus the squared distance");
        visit("floor", o.floor, "least that a query vector's best counts, default none");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

struct MaxsimOutputs {
    float* score = nullptr;  ///< [documents]
    std::int64_t* argmax =
        nullptr;  ///< [documents, Tq], the best of the document's vectors, the first of equals; or null
};

/// A similarity that is NaN is never the best. Throws Error on shapes, pointers and options that do not fit; nothing is
/// written then.
void maxsim(const MaxsimInputs& x, const MaxsimOutputs& out, const MaxsimOptions& options = {},
            Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/isa.inl>
#include <attenta/sparse/documents/maxsim.inl>
#include <attenta/sparse/documents/maxsim_kernels.inl>
#endif
