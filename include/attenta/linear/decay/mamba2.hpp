// Mamba-2, state space duality. Dao and Gu 2024, "Transformers are SSMs".
//
//   dt ← clip(softplus(dt + dt_bias), dt_limit);   g_t = dt_t A
//   S_t = exp(g_t) S_{t-1} + B_t (dt_t x_t)ᵀ,   o_t = S_tᵀ C_t + D x_t;   o ← o ⊙ silu(z)
//
//   Gated linear attention (gla.hpp) with one gate per token: k = B, q = C, v = dt x.
#pragma once

#include <attenta/linear/common.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>

ATTENTA_BEGIN

/// A is negative, D the skip, z gates the output, skip included. G divides H; the state is [H, N, P].
struct Mamba2Inputs {
    Heads<const float> x, dt;
    std::span<const float> A;
    Heads<const float> B, C, D = {}, z = {};
    std::span<const float> dt_bias = {};
    static constexpr const char *output = "[H, T, P]", *state = "[H, N, P]";

    static void list(auto&& visit, auto& x) {
        visit("x", x.x, "[H, T, P]");
        visit("dt", x.dt, "[H, T]");
        visit("A", x.A, "[H]");
        visit("B", x.B, "[G, T, N]");
        visit("C", x.C, "[G, T, N]");
        visit("D", x.D, "[H] or [H, P]", Input::optional);
        visit("z", x.z, "[H, T, P]", Input::optional);
        visit("dt_bias", x.dt_bias, "[H]", Input::optional);
    }
};

struct Mamba2Options {
    bool dt_softplus = true;
    std::optional<std::array<float, 2>> dt_limit = {};  ///< clips dt; default [0, inf)
    bool check_data = false;                            ///< refuse NaN anywhere and dt A above 0

    static void fields(auto&& visit, auto& o) {
        visit("dt_softplus", o.dt_softplus, "dt passes softplus");
        visit("dt_limit", o.dt_limit, "[low, high] of dt, high may be null");
        visit("check_data", o.check_data, "refuse NaN and gates above 0");
    }
};

/// o [H, T, P]. Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void mamba2(const Mamba2Inputs& x, Heads<float> o, LinearState& state, const Mamba2Options& options = {},
            Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/decay/mamba2.inl>
#include <attenta/linear/decay/mamba2_kernels.inl>
#endif
