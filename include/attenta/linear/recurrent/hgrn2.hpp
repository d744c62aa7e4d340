// HGRN2. Qin et al. 2024, "HGRN2: Gated Linear RNNs with State Expansion".
//
//   S_t = diag(exp g_t) S_{t-1} + (1 − exp g_t) v_tᵀ,   o_t = scale · S_tᵀ q_t
//
//   Gated linear attention (gla.hpp) whose key is what the gate lets go, −expm1(g).
#pragma once

#include <attenta/linear/feature_maps.hpp>

ATTENTA_BEGIN

/// g is the natural logarithm of the gate, <= 0.
struct Hgrn2Inputs {
    Heads<const float> q, v, g;
    static constexpr const char *output = "[H, T, Dv]", *state = "[H, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, T, D]");
        visit("v", x.v, "[H, T, Dv]");
        visit("g", x.g, "[H, T, D]", Input::gate);
    }
};

using Hgrn2Options = ScaledOptions;

/// o [H, T, Dv]. Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
inline void hgrn2(const Hgrn2Inputs& x, Heads<float> o, LinearState& state, const Hgrn2Options& options = {},
                  Context& context = default_context()) {
    scan::Request r{.function = "hgrn2", .q = x.q, .k = x.g, .v = x.v, .g = x.g};
    r.k_map = {features::one_minus_exp()};
    r.scale = options.scale;
    scan::check_and_run(x, r, o, state, options.check_data, context);
}

ATTENTA_END
