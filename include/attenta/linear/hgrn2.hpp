// HGRN2. Qin et al. 2024, "HGRN2: Gated Linear RNNs with State Expansion".
//
//   S_t = diag(exp g_t) S_{t-1} + (1 − exp g_t) v_tᵀ,   o_t = scale · S_tᵀ q_t
//
//   Gated linear attention (gla.hpp) whose key is what the gate lets go, −expm1(g).
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/linear_state.hpp>
#include <attenta/core/view.hpp>

#include <cstdint>
#include <optional>
#include <type_traits>

ATTENTA_BEGIN

struct Hgrn2Options {
    float scale = 1;          ///< any finite value
    bool check_data = false;  ///< refuse NaN anywhere and gates above 0, for a pass over all inputs
};

template <class Visitor, class Options>
requires std::is_same_v<std::remove_const_t<Options>, Hgrn2Options>
void fields(Visitor&& visit, Options& o) {
    visit("scale", o.scale, "factor of the output");
    visit("check_data", o.check_data, "refuse NaN and gates above 0");
}

/// q, g [H, T, D], v [H, T, Dv]; g is the natural logarithm of the gate, <= 0; o [H, T, Dv]. All have the same heads.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void hgrn2(Heads<const float> q, Heads<const float> v, Heads<const float> g, Heads<float> o, LinearState& state,
           const Hgrn2Options& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/scan.inl>
#include <attenta/engine/scan/feature_kernels.inl>
#include <attenta/linear/hgrn2.inl>
#endif
