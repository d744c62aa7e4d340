// RWKV-6 time mixing. Peng et al. 2024, "Eagle and Finch".
//
//   o_t = scale · (S_{t-1} + diag(u) k_t v_tᵀ)ᵀ q_t,   S_t = diag(exp g_t) S_{t-1} + k_t v_tᵀ
//
//   The state that is read is the one before the token; the token itself is read through the bonus u.
#pragma once

#include <attenta/linear/common.hpp>

ATTENTA_BEGIN

/// q is the receptance, u the bonus, g the natural logarithm of the gate, <= 0.
struct Rwkv6Inputs {
    Heads<const float> q, k, v, g, u;
    static constexpr const char *output = "[H, T, Dv]", *state = "[H, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, T, D]");
        visit("k", x.k, "[H, T, D]");
        visit("v", x.v, "[H, T, Dv]");
        visit("g", x.g, "[H, T, D]", Input::gate);
        visit("u", x.u, "[H, D]");
    }
};

using Rwkv6Options = ScaledOptions;

/// o [H, T, Dv]. Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
inline void rwkv6(const Rwkv6Inputs& x, Heads<float> o, LinearState& state, const Rwkv6Options& options = {},
                  Context& context = default_context()) {
    scan::Request r{.function = "rwkv6", .q = x.q, .k = x.k, .v = x.v, .g = x.g, .u = x.u};
    r.read_before = true;
    r.scale = options.scale;
    scan::check_and_run(x, r, o, state, options.check_data, context);
}

ATTENTA_END
