// Sparsemax attention. Martins and Astudillo 2016, From Softmax to Sparsemax; Nguyen et al. 2022, Attentive Deep Neural Networks for
// Legal Document Retrieval.
//
//   w_ij = max(s_ij − τ_i, 0),   τ_i such that Σ_j w_ij = 1,   o_i = Σ_j w_ij v_j
//
// The Euclidean projection of the scores onto the simplex: scores that are 1 or more below the largest weigh exactly 0. Time as
// softmax and some steps over the other scores of each row.
#pragma once

#include <attenta/variants/common.hpp>

#include <optional>

ATTENTA_BEGIN

struct SparsemaxInputs {
    Heads<const float> q;
    KvView kv;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

struct SparsemaxOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        VisibleKeys::fields(visit, o.visibility);
    }
};

struct SparsemaxOutputs : WeightedOutputs {
    float* tau = nullptr;  ///< [Hq, Tq] thresholds of the scaled scores, -inf where a query sees no key; or null
};

/// Throws Error on shapes and options that do not fit; nothing is written then.
void sparsemax(const SparsemaxInputs& x, const SparsemaxOutputs& out, const SparsemaxOptions& options = {},
               Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/normalisers/entmax_kernels.inl>
#include <attenta/variants/normalisers/sparsemax.inl>
#endif
