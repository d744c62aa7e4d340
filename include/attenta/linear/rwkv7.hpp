// RWKV-7 time mixing. Peng et al. 2025, "RWKV-7 Goose".
//
//   S_t = diag(exp g_t) S_{t-1} + b_t (a_tᵀ S_{t-1}) + k_t v_tᵀ,   o_t = scale · S_tᵀ q_t
//
//   The model feeds a = −κ and b = κ ⊙ η with κ the unit key. Stability for other a and b is the caller's.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/linear_state.hpp>
#include <attenta/core/view.hpp>

#include <cstdint>
#include <optional>
#include <type_traits>

ATTENTA_BEGIN

struct Rwkv7Options {
    float scale = 1;          ///< any finite value
    bool check_data = false;  ///< refuse NaN anywhere and gates above 0, for a pass over all inputs
};

template <class Visitor, class Options>
requires std::is_same_v<std::remove_const_t<Options>, Rwkv7Options>
void fields(Visitor&& visit, Options& o) {
    visit("scale", o.scale, "factor of the output");
    visit("check_data", o.check_data, "refuse NaN and gates above 0");
}

/// q (receptance), k, a, b, g [H, T, D], v [H, T, Dv]; g is the natural logarithm of the gate, <= 0; o [H, T, Dv]. All
/// have the same heads.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void rwkv7(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<const float> a, Heads<const float> b,
           Heads<const float> g, Heads<float> o, LinearState& state, const Rwkv7Options& options = {},
           Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/scan.inl>
#include <attenta/linear/rwkv7.inl>
#endif
