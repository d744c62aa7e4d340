// α-entmax attention. Peters, Niculae and Martins 2019, Sparse Sequence-to-Sequence Models; a head's own α: Correia et al. 2019,
// Adaptively Sparse Transformers.
//
//   w_ij = max((α − 1) s_ij − τ_i, 0)^(1/(α − 1)),   τ_i such that Σ_j w_ij = 1,   o_i = Σ_j w_ij v_j
//
// α = 2 is sparsemax, α → 1 tends to softmax. Scores farther than 1/(α − 1) below the largest weigh exactly 0. A row's threshold
// is found by Newton's method on the others, from below. Time as softmax and some steps over the candidates of each row.
#pragma once

#include <attenta/variants/common.hpp>

#include <optional>
#include <span>

ATTENTA_BEGIN

struct EntmaxInputs {
    Heads<const float> q;
    KvView kv;
    std::span<const float> alpha = {};  ///< of each head, in place of the option

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("alpha", x.alpha, "[Hq]", Input::optional);
    }
};

struct EntmaxOptions {
    float alpha = 1.5f;
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("alpha", o.alpha, "above 1; 2 is sparsemax");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        VisibleKeys::fields(visit, o.visibility);
    }
};

struct EntmaxOutputs : WeightedOutputs {
    Heads<float> weights = {};  ///< [Hq, Tq, Tk], or without data
};

/// Throws Error on shapes and options that do not fit, α of a head included; nothing is written then.
void entmax(const EntmaxInputs& x, const EntmaxOutputs& out, const EntmaxOptions& options = {},
            Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/normalisers/entmax.inl>
#include <attenta/variants/normalisers/entmax_kernels.inl>
#endif
