// Mamba, the selective scan (S6). Gu and Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces".
//
//   dt ← softplus(dt + dt_bias)
//   S_t[n,p] = exp(dt_t[p] A[p,n]) S_{t-1}[n,p] + W(dt_t[p], A[p,n]) B_t[n] x_t[p]
//   o_t[p] = Σ_n C_t[n] S_t[n,p] + D[p] x_t[p];   o ← o ⊙ silu(z)
//
//   W = dt (euler, what models use) or (exp(dt A) − 1) / A (zoh, the exact hold of the paper).
//
//   Time T·P·N exponentials per head, state N·P. A token with a state is the decode step; cuts change no bit.
#pragma once

#include <attenta/linear/recurrent/common.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

enum class MambaDiscretization : std::uint8_t { euler, zoh };
constexpr std::array<std::string_view, 2> names_of(MambaDiscretization) { return {"euler", "zoh"}; }

/// A is negative (with zoh it may be 0), D the skip, z gates the output, skip included. G divides H; the state is [H, N, P].
/// A layer of Mamba is H = G = 1 and P its inner width.
struct MambaInputs {
    Heads<const float> x, dt, A, B, C, D = {}, z = {}, dt_bias = {};
    static constexpr const char *output = "[H, T, P]", *state = "[H, N, P]";

    static void list(auto&& visit, auto& x) {
        visit("x", x.x, "[H, T, P]");
        visit("dt", x.dt, "[H, T, P]");
        visit("A", x.A, "[H, P, N]");
        visit("B", x.B, "[G, T, N]");
        visit("C", x.C, "[G, T, N]");
        visit("D", x.D, "[H, P]", Input::optional);
        visit("z", x.z, "[H, T, P]", Input::optional);
        visit("dt_bias", x.dt_bias, "[H, P]", Input::optional);
    }
};

struct MambaOptions {
    bool dt_softplus = true;
    MambaDiscretization discretization = MambaDiscretization::euler;
    bool check_data = false;  ///< refuse NaN anywhere, growth in A, and dt below 0 without softplus

    static void fields(auto&& visit, auto& o) {
        visit("dt_softplus", o.dt_softplus, "dt passes softplus");
        visit("discretization", o.discretization, "factor of the input: euler dt, zoh (exp(dt A) - 1) / A");
        visit("check_data", o.check_data, "refuse NaN, growth, and negative dt without softplus");
    }
};

/// o [H, T, P]. `state` is read as the past and left at the end of the tokens; an empty one becomes zeros.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void mamba(const MambaInputs& x, Heads<float> o, LinearState& state, const MambaOptions& options = {},
           Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/recurrent/mamba.inl>
#include <attenta/linear/recurrent/mamba_kernels.inl>
#endif
