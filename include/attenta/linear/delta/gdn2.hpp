// Gated DeltaNet-2. 2026, "Gated DeltaNet-2: Decoupling Erase and Write in Linear Attention".
//
//   S ← diag(exp g_t) S_{t-1};   S_t = S + k_t (w_t ⊙ v_t − Sᵀ (b_t ⊙ k_t))ᵀ;   o_t = scale · S_tᵀ q_t
//
//   kda.hpp whose β is two gates: b says along which key channels old content is taken away, w how much of each value channel is
//   stored. With b = w = β it is kda. Time T·D·Dv per head, state D·Dv.
#pragma once

#include <attenta/linear/delta/delta_rule.hpp>

ATTENTA_BEGIN

/// g is the natural logarithm of the gate, <= 0 (kda_gate.hpp makes it). Models have b in (0, 1) or (0, 2) and w in (0, 1); their
/// range is the caller's. Heads as in gla.hpp.
struct Gdn2Inputs {
    Heads<const float> q, k, v, g, b, w;
    static constexpr const char *output = "[Ho, T, Dv]", *state = "[Hs, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", x.k, "[Hk, T, D]");
        visit("v", x.v, "[Hv, T, Dv]");
        visit("g", x.g, "[Hs, T, D]", Input::gate);
        visit("b", x.b, "[Hs, T, D]");
        visit("w", x.w, "[Hs, T, Dv]");
    }
};

using Gdn2Options = DeltaRuleOptions;

/// o [Ho, T, Dv]. Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
inline void gdn2(const Gdn2Inputs& x, Heads<float> o, LinearState& state, const Gdn2Options& options = {},
                 Context& context = default_context()) {
    scan::Request r{.function = "gdn2", .q = x.q, .k = x.k, .v = x.v, .g = x.g};
    r.erase = x.b;
    r.write = x.w;
    detail::run_delta(x, r, o, state, options, context);
}

ATTENTA_END
