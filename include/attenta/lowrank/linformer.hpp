// Linformer: keys and values are projected along the sequence to R slots, which all queries read. Wang et al. 2020,
// "Linformer: Self-Attention with Linear Complexity".
//
//   K~ = E k [R, D],  V~ = F v [R, Dv],  o_i = softmax(scale · q_i K~ᵀ) V~,  lse_i = ln Σ exp of these scores
//
// E = proj_k and F = proj_v of the key head; without proj_v F = E. Any fixed pooling along the sequence is an E: means, strided
// convolutions. A slot mixes all positions, so nothing is causal. Time (Tq + Tk)·R·(D + Dv) per head.
#pragma once

#include <attenta/lowrank/common.hpp>

#include <optional>

ATTENTA_BEGIN

/// Hp and Hf are 1, one matrix for all heads, or Hkv. Columns behind the Tk-th are not read.
struct LinformerInputs {
    Heads<const float> q, k, v, proj_k, proj_v = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
        visit("proj_k", x.proj_k, "[Hp, TR, E]");
        visit("proj_v", x.proj_v, "[Hf, TR, F]", Input::optional);
    }
};

struct LinformerOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D); any finite value
    bool check_data = false;          ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [Hq, Tq, Dv]; lse [Hq, Tq] over the R slots, natural logarithm, or null.
/// Throws Error on shapes that do not fit and on fewer than Tk columns; nothing is written then.
void linformer(const LinformerInputs& x, Heads<float> o, const LinformerOptions& options = {}, float* lse = nullptr,
               Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/lowrank/linformer.inl>
#endif
