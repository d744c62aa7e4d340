// Gated linear attention. Yang et al. 2024, "Gated Linear Attention Transformers", eq. 4-7.
//
//   S_t = diag(exp g_t) S_{t-1} diag(exp gv_t) + k_t v_tᵀ          S [D, Dv] per state head
//   o_t = scale · S_tᵀ q_t
//
// The gate acts on the old state alone: a token enters undecayed and is read at once. Prefill runs in chunks (matrix
// products inside, state between), decode is one step; both give the same numbers. Time T·D·Dv per head, state D·Dv.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/linear_state.hpp>
#include <attenta/core/view.hpp>

#include <cstdint>
#include <optional>
#include <type_traits>

ATTENTA_BEGIN

struct GlaOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D); any finite value
    bool check_data = false;          ///< refuse NaN anywhere and gates above 0, for a pass over all inputs
    Heads<const float> gv = {};       ///< [Hs, T, Dv], gates of value channels; token by token, without chunks
};

template <class Visitor, class Options>
requires std::is_same_v<std::remove_const_t<Options>, GlaOptions>
void fields(Visitor&& visit, Options& o) {
    visit("scale", o.scale, "factor of the output, default 1/sqrt(D)");
    visit("check_data", o.check_data, "refuse NaN and gates above 0");
}

/// q [Hq, T, D], k [Hk, T, D], v [Hv, T, Dv], state heads Hs = max(Hk, Hv), output heads Ho = max(Hq, Hs); a tensor of h
/// heads is read at h-index i / (H/h). g is the natural logarithm of the gate, <= 0 (-inf closes it): [Hs, T, D],
/// [Hs, T, 1], [Hs, 1, 1] (constant) or empty (no decay). o [Ho, T, Dv].
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void gla(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<const float> g, Heads<float> o,
         LinearState& state, const GlaOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/scan.inl>
#include <attenta/linear/gla.inl>
#endif
