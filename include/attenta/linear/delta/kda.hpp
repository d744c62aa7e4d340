// Kimi delta attention: the gated delta rule with a gate per key channel. Kimi Team 2025, "Kimi Linear".
//
//   S ← diag(exp g_t) S_{t-1};   S_t = S + β_t k_t (v_t − Sᵀ k_t)ᵀ;   o_t = scale · S_tᵀ q_t
#pragma once

#include <attenta/linear/delta/delta_rule.hpp>

ATTENTA_BEGIN

/// g is the natural logarithm of the gate, <= 0. Heads as in gla.hpp.
struct KdaInputs {
    Heads<const float> q, k, v, g, beta;
    static constexpr const char *output = "[Ho, T, Dv]", *state = "[Hs, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", x.k, "[Hk, T, D]");
        visit("v", x.v, "[Hv, T, Dv]");
        visit("g", x.g, "[Hs, T, D]", Input::gate);
        visit("beta", x.beta, "[Hs, T]");
    }
};

using KdaOptions = DeltaRuleOptions;

/// o [Ho, T, Dv]. Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
inline void kda(const KdaInputs& x, Heads<float> o, LinearState& state, const KdaOptions& options = {},
                Context& context = default_context()) {
    const scan::Request r{.function = "kda", .q = x.q, .k = x.k, .v = x.v, .g = x.g, .beta = x.beta};
    detail::run_delta(x, r, o, state, options, context);
}

ATTENTA_END
