// Mamba-2, state space duality. Dao and Gu 2024, "Transformers are SSMs".
//
//   dt ← clip(softplus(dt + dt_bias), dt_limit);   g_t = dt_t A
//   S_t = exp(g_t) S_{t-1} + B_t (dt_t x_t)ᵀ,   o_t = S_tᵀ C_t + D x_t;   o ← o ⊙ silu(z)
//
//   Gated linear attention (gla.hpp) with one gate per token: k = B, q = C, v = dt x.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/linear_state.hpp>
#include <attenta/core/view.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

ATTENTA_BEGIN

struct Mamba2Options {
    bool dt_softplus = true;
    std::optional<std::array<float, 2>> dt_limit = {};  ///< clips dt; default [0, inf)
    bool check_data = false;                            ///< refuse NaN anywhere and dt A above 0
    Heads<const float> D = {};                          ///< [H, 1, 1] or [H, 1, P], the skip
    Heads<const float> z = {};                          ///< [H, T, P], gates the output, skip included
    std::span<const float> dt_bias = {};                ///< [H]
};

template <class Visitor, class Options>
requires std::is_same_v<std::remove_const_t<Options>, Mamba2Options>
void fields(Visitor&& visit, Options& o) {
    visit("dt_softplus", o.dt_softplus, "dt passes softplus");
    visit("dt_limit", o.dt_limit, "[low, high] of dt, high may be null");
    visit("check_data", o.check_data, "refuse NaN and gates above 0");
}

/// x [H, T, P], dt [H, T, 1], A [H] < 0, B and C [G, T, N] with G dividing H; o [H, T, P], state [H, N, P].
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void mamba2(Heads<const float> x, Heads<const float> dt, std::span<const float> A, Heads<const float> B,
            Heads<const float> C, Heads<float> o, LinearState& state, const Mamba2Options& options = {},
            Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/scan.inl>
#include <attenta/linear/mamba2.inl>
#include <attenta/linear/mamba2_kernels.inl>
#endif
