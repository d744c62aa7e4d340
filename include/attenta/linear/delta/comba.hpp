// Comba. Hu et al. 2025, "Comba: Improving Bilinear RNNs with Closed-loop Control".
//
//   S_t = exp(g_t) S_{t-1} + β_t k_t (v_t − S_{t-1}ᵀ p_t)ᵀ,   o_t = scale · S_tᵀ q_t
//
//   gated_delta_rule.hpp with a vector p for the prediction, which is made with the state before its decay: p = exp(g) k gives
//   that rule. Layers have p = sigmoid(a) k for each head, and q less a multiple of p in place of q; both are the caller's.
//   Time T·D·Dv per head, state D·Dv.
#pragma once

#include <attenta/linear/delta/delta_rule.hpp>

ATTENTA_BEGIN

/// g is the natural logarithm of the gate, <= 0. Heads as in gla.hpp.
struct CombaInputs {
    Heads<const float> q, k, v, p, g, beta;
    static constexpr const char *output = "[Ho, T, Dv]", *state = "[Hs, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", x.k, "[Hk, T, D]");
        visit("v", x.v, "[Hv, T, Dv]");
        visit("p", x.p, "[Hk, T, D]");
        visit("g", x.g, "[Hs, T]", Input::gate);
        visit("beta", x.beta, "[Hs, T]");
    }
};

/// qk_l2norm normalises p as well, and so takes a scalar factor of p away again.
using CombaOptions = DeltaRuleOptions;

/// o [Ho, T, Dv]. Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
inline void comba(const CombaInputs& x, Heads<float> o, LinearState& state, const CombaOptions& options = {},
                  Context& context = default_context()) {
    scan::Request r{.function = "comba", .q = x.q, .k = x.k, .v = x.v, .g = x.g, .beta = x.beta, .a = x.p};
    r.predict_before = true;
    detail::run_delta(x, r, o, state, options, context);
}

ATTENTA_END
