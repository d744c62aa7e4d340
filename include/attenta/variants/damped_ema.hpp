// Multi-dimensional damped moving average. Ma et al. 2022, "Mega: Moving Average Equipped Gated Attention", eq. 5-6.
//
//   p = σ(delta),  φ = 1 − p σ(alpha)                               per channel and component n of N
//   h_t = φ ⊙ h_{t−1} + p ⊙ beta x_t,   y_t = √(1/N) Σ_n gamma_n h_t,n + omega x_t,   o = silu(y) or y
//
//   Both directions: rows D .. 2D − 1 of the parameters run from the last token to the first, and the sums add up; the token
//   itself counts in both.
//
//   Time T·D·N, state N·D. A token with a state is the decode step; cuts change no bit.
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/engine/elementwise/request.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class EmaActivation : std::uint8_t { silu, none };
constexpr std::array<std::string_view, 2> names_of(EmaActivation) { return {"silu", "none"}; }

/// M = D, or 2 D for both directions. delta and alpha are before their sigmoids.
struct DampedEmaInputs {
    Matrices<const float> x, delta, alpha, beta, gamma;
    std::span<const float> omega;

    static void list(auto&& visit, auto& x) {
        visit("x", x.x, "[T, D]");
        visit("delta", x.delta, "[M, N]");
        visit("alpha", x.alpha, "[M, N]");
        visit("beta", x.beta, "[M, N]");
        visit("gamma", x.gamma, "[M, N]");
        visit("omega", x.omega, "[D]");
    }
};

struct DampedEmaOptions {
    EmaActivation activation = EmaActivation::silu;
    bool bidirectional = false;
    bool check_data = false;  ///< refuse NaN anywhere

    static void fields(auto&& visit, auto& o) {
        visit("activation", o.activation, "of the sum: silu or none");
        visit("bidirectional", o.bidirectional, "parameters have 2 D rows, the second half runs backwards");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [T, D]. `state` [1, N, D] is read as the past and left at the end of the tokens; an empty one becomes zeros. With
/// `bidirectional` there is none: it has to be empty and stays so.
/// Throws Error on shapes that do not fit, and on NaN with `check_data`; nothing is written then.
void damped_ema(const DampedEmaInputs& x, Matrices<float> o, LinearState& state, const DampedEmaOptions& options = {},
                Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/elementwise.inl>
#include <attenta/variants/damped_ema.inl>
#include <attenta/variants/damped_ema_kernels.inl>
#endif
