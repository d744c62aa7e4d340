// TransNormerLLM token mixing. Qin et al. 2023, "Scaling TransNormer to 175 Billion Parameters".
//
//   q, k ← silu(q), silu(k);  with theta: their features of lrpe.hpp at positions offset, offset + 1, ...
//   S_t = exp(g) S_{t-1} + k_t v_tᵀ,   y_t = S_tᵀ q_t
//   o_t = y_t / sqrt(mean over all heads and channels of y_t² + eps) ⊙ u_t
//
//   The norm needs all heads of a token: it is a pass over the outputs. Time T·F·Dv per head, F = D or 2D.
#pragma once

#include <attenta/linear/decay/lrpe.hpp>
#include <attenta/linear/row_norm.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

enum class TransnormerActivation : std::uint8_t { silu, none };
constexpr std::array<std::string_view, 2> names_of(TransnormerActivation) { return {"silu", "none"}; }

/// g is the natural logarithm of the decay, <= 0. Without angles theta nothing is turned, without u nothing gated.
struct TransnormerInputs {
    Heads<const float> q, k, v, g, u = {}, theta = {};
    static constexpr const char *output = "[H, T, Dv]", *state = "[H, F, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, T, D]");
        visit("k", x.k, "[H, T, D]");
        visit("v", x.v, "[H, T, Dv]");
        visit("g", x.g, "[H]", Input::gate);
        visit("u", x.u, "[H, T, Dv]", Input::optional);
        visit("theta", x.theta, "[H, D]", Input::optional);
    }
};

struct TransnormerOptions {
    TransnormerActivation activation = TransnormerActivation::silu;  ///< of q and k
    float eps = 1e-6f;                                               ///< added to the mean of squares
    RowGate gate_activation = RowGate::none;                         ///< of u
    std::int64_t offset = 0;                                         ///< position of the first token, for theta
    bool check_data = false;  ///< refuse NaN anywhere and gates above 0, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("activation", o.activation, "silu or none, of q and k");
        visit("eps", o.eps, "added to the mean of squares");
        visit("gate_activation", o.gate_activation, "none or sigmoid, of u");
        visit("offset", o.offset, "position of the first token, for theta");
        visit("check_data", o.check_data, "refuse NaN and gates above 0");
    }
};

/// o [H, T, Dv], the state [H, D, Dv], with theta [H, 2D, Dv]. Throws Error on shapes that do not fit, and on bad numbers
/// with `check_data`; nothing is written then.
inline void transnormer(const TransnormerInputs& x, Heads<float> o, LinearState& state,
                        const TransnormerOptions& options = {}, Context& context = default_context()) {
    const bool silu = options.activation == TransnormerActivation::silu;
    const features::Lrpe turned{x.theta, options.offset, silu};
    scan::Request r{.function = "transnormer", .q = x.q, .k = x.k, .v = x.v, .g = x.g};
    if (silu) r.q_map = r.k_map = {features::silu()};
    if (x.theta.data) detail::turn(r, turned);
    detail::require_offset(r.function, options.offset, x.k.tokens);
    detail::require_not_negative(r.function, "eps", options.eps);
    scan::check_and_run(x, r, o, state, options.check_data, context);
    detail::norm_rows(o, x.u, true, RowNorm::rms, options.gate_activation, options.eps, context);
}

ATTENTA_END
