// Attention by the layout of a page alone. Nguyen et al. 2021, Skim-Attention: Learning to Focus via Document Layout.
//
//   e_t = x_emb[x0] + y_emb[y0] + x_emb[x1] + y_emb[y1] + h_emb[y1 − y0] + w_emb[x1 − x0], layer-normalised, of box (x0, y0, x1, y1)
//         (centres_only: x_emb[⌊(x0 + x1) / 2⌋] + y_emb[⌊(y0 + y1) / 2⌋])
//   q = e W_q + b_q,  k = e W_k + b_k per head,  P = softmax(scale q kᵀ) over visible keys
//
//   skim       o_l = P v_l for all layers l: their values stand side by side as one wide value
//   skim_mask  of each row of P the top_k visible keys, ties to the lower index, are the keys of an ordinary attention of the
//              text, with scale 1/sqrt(Dq); rows without a key give 0 (the released mask adds −10000 instead)
//
// Keys are ranked by their scores, for probabilities underflow to ties.
#pragma once

#include <attenta/softmax/common.hpp>

#include <cstdint>
#include <optional>
#include <span>

ATTENTA_BEGIN

/// Boxes, and what makes queries and keys of them.
struct SkimLayout {
    Matrices<const std::int64_t> bbox;                           ///< left, top, right, bottom
    Matrices<const float> x_emb, y_emb, h_emb = {}, w_emb = {};  ///< heights and widths, but with centres_only
    std::span<const float> ln_weight, ln_bias;
    Heads<const float> w_q, w_k;
    Matrices<const float> b_q, b_k;

    static void list(auto&& visit, auto& x) {
        visit("bbox", x.bbox, "[T, 4]");
        visit("x_emb", x.x_emb, "[P, M]");
        visit("y_emb", x.y_emb, "[P, M]");
        visit("h_emb", x.h_emb, "[P, M]", Input::optional);
        visit("w_emb", x.w_emb, "[P, M]", Input::optional);
        visit("ln_weight", x.ln_weight, "[M]");
        visit("ln_bias", x.ln_bias, "[M]");
        visit("w_q", x.w_q, "[H, TM, D]");
        visit("w_k", x.w_k, "[H, TM, D]");
        visit("b_q", x.b_q, "[H, D]");
        visit("b_k", x.b_k, "[H, D]");
    }
};

struct SkimOptions {
    std::int64_t top_k = 0;  ///< keys of skim_mask; more than T are T
    bool centres_only = false;
    float eps = 1e-12f;               ///< of the layer norm
    std::optional<float> scale = {};  ///< of the layout's scores, default 1/sqrt(D)
    Matrices<const bool> mask = {};   ///< [1 or H, 1 or T, at most T], true: visible

    static void fields(auto&& visit, auto& o) {
        visit("top_k", o.top_k, "keys of a row for the text, 0: attention by the layout");
        visit("centres_only", o.centres_only, "boxes are their centres");
        visit("eps", o.eps, "of the layer norm");
        visit("scale", o.scale, "of the layout's scores, default 1/sqrt(D)");
    }
};

struct SkimOutputs {
    HeadsBatch<float> o;   ///< [layers, H, T, Dv]
    float* lse = nullptr;  ///< [H, T], or null
};

/// v [layers, Hkv, T, Dv]. Throws Error on shapes and options that do not fit, and on boxes outside the tables or turned inside
/// out; nothing is written then.
void skim(const SkimLayout& layout, const HeadsBatch<const float>& v, const SkimOutputs& out,
          const SkimOptions& options = {}, Context& context = default_context());

struct SkimMaskOutputs : SoftmaxOutputs {
    bool* keep = nullptr;  ///< [H, T, T] which keys a row has kept, or null
};

/// The text's q [H, T, Dq], k [Hkv, T, Dq], v [Hkv, T, Dv]; o [H, T, Dv], lse [H, T] of the text, or null. Throws Error as skim,
/// and on top_k < 1.
void skim_mask(const SkimLayout& layout, const Heads<const float>& q, const KvView& kv, const SkimMaskOutputs& out,
               const SkimOptions& options, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/softmax/scores/skim.inl>
#include <attenta/softmax/scores/skim_kernels.inl>
#endif
