// RWKV-6 time mixing. Peng et al. 2024, "Eagle and Finch".
//
//   o_t = scale · (S_{t-1} + diag(u) k_t v_tᵀ)ᵀ q_t,   S_t = diag(exp g_t) S_{t-1} + k_t v_tᵀ
//
//   The state that is read is the one before the token; the token itself is read through the bonus u.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/linear_state.hpp>
#include <attenta/core/view.hpp>

#include <cstdint>
#include <optional>
#include <type_traits>

ATTENTA_BEGIN

struct Rwkv6Options {
    float scale = 1;          ///< any finite value
    bool check_data = false;  ///< refuse NaN anywhere and gates above 0, for a pass over all inputs
};

template <class Visitor, class Options>
requires std::is_same_v<std::remove_const_t<Options>, Rwkv6Options>
void fields(Visitor&& visit, Options& o) {
    visit("scale", o.scale, "factor of the output");
    visit("check_data", o.check_data, "refuse NaN and gates above 0");
}

/// q (receptance), k, g [H, T, D], v [H, T, Dv], u [H, 1, D] the bonus; g is the natural logarithm of the gate, <= 0;
/// o [H, T, Dv]. All have the same heads.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void rwkv6(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<const float> g, Heads<const float> u,
           Heads<float> o, LinearState& state, const Rwkv6Options& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/scan.inl>
#include <attenta/linear/rwkv6.inl>
#endif
