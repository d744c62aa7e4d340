// RWKV-7 time mixing. Peng et al. 2025, "RWKV-7 Goose".
//
//   S_t = diag(exp g_t) S_{t-1} + b_t (a_tᵀ S_{t-1}) + k_t v_tᵀ,   o_t = scale · S_tᵀ q_t
//
//   The model feeds a = −κ and b = κ ⊙ η with κ the unit key. Stability for other a and b is the caller's.
#pragma once

#include <attenta/linear/common.hpp>

ATTENTA_BEGIN

/// q is the receptance, g the natural logarithm of the gate, <= 0.
struct Rwkv7Inputs {
    Heads<const float> q, k, v, a, b, g;
    static constexpr const char *output = "[H, T, Dv]", *state = "[H, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, T, D]");
        visit("k", x.k, "[H, T, D]");
        visit("v", x.v, "[H, T, Dv]");
        visit("a", x.a, "[H, T, D]");
        visit("b", x.b, "[H, T, D]");
        visit("g", x.g, "[H, T, D]", Input::gate);
    }
};

using Rwkv7Options = ScaledOptions;

/// o [H, T, Dv]. Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
inline void rwkv7(const Rwkv7Inputs& x, Heads<float> o, LinearState& state, const Rwkv7Options& options = {},
                  Context& context = default_context()) {
    scan::Request r{.function = "rwkv7", .q = x.q, .k = x.k, .v = x.v, .g = x.g, .a = x.a, .b = x.b};
    r.update = scan::Update::low_rank;
    r.scale = options.scale;
    scan::check_and_run(x, r, o, state, options.check_data, context);
}

ATTENTA_END
