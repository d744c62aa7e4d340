// Label attention: every head is a label with one learned query, and its context is added to every word. Mrini et al. 2020,
// "Rethinking Self-Attention: Towards Interpretability in Neural Parsing".
//
//   a_l = softmax_t(scale · q_l·(x_t w_k[l])),  c_l = Σ_t a_lt x_t w_v[l]
//   y_tl = LN((c_l w_o + x_t) w_p),  LN(z) = (z − mean) / (std + eps) · norm + norm_b
//
// Queries take w_k along and w_v comes last, so that labels read the words themselves as keys and values; w_p is applied to words and
// to contexts, not to their pairs. Time L T Dm, and L T P for y.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <cstdint>
#include <optional>
#include <span>

ATTENTA_BEGIN

/// w_o, w_p, norm and norm_b belong to y: all or none.
struct LabelInputs {
    Matrices<const float> x, q;
    Heads<const float> w_k, w_v;
    Matrices<const float> w_o = {}, w_p = {};
    std::span<const float> norm = {}, norm_b = {};

    static void list(auto&& visit, auto& in) {
        visit("x", in.x, "[T, Dm]");
        visit("q", in.q, "[L, D]");
        visit("w_k", in.w_k, "[L, Dm, D]");
        visit("w_v", in.w_v, "[L, Dm, Dv]");
        visit("w_o", in.w_o, "[Dv, Dm]", Input::optional);
        visit("w_p", in.w_p, "[Dm, P]", Input::optional);
        visit("norm", in.norm, "[P]", Input::optional);
        visit("norm_b", in.norm_b, "[P]", Input::optional);
    }
};

struct LabelOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(Dm), as released; the paper has 1/sqrt(D)
    std::int64_t ddof = 1;            ///< the deviation's divisor is P − ddof
    float eps = 1e-3f;

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the scores, default 1/sqrt(Dm)");
        visit("ddof", o.ddof, "0 or 1: the deviation's divisor is P - ddof");
        visit("eps", o.eps, "added to the deviation");
    }
};

struct LabelOutputs {
    Heads<float> o;          ///< [L, 1, Dv] c_l
    float* lse = nullptr;    ///< [L]; or null
    Matrices<float> y = {};  ///< [T, L P] with w_o; or nothing
};

/// Throws Error on shapes and options that do not fit; nothing is written then.
void label(const LabelInputs& x, const LabelOutputs& out, const LabelOptions& options = {},
           Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/common/checked_call.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/dense.inl>
#include <attenta/variants/structured/kernels.inl>
#include <attenta/variants/structured/label.inl>
#endif
