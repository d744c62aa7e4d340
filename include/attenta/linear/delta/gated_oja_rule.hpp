// Gated Oja rule. flash-linear-attention 2026, after Oja 1982.
//
//   S ← S_{t-1} diag(exp gv_t);   S_t = S + β_t (k_t − S v_t) v_tᵀ;   o_t = scale · S_tᵀ q_t
//
//   The delta rule with keys and values exchanged: the state predicts the key from the value, and decays by value channel.
//   A prefill is two scans. On Sᵀ it is kda.hpp with keys v and values k, whose corrected values n_t = β_t (k_t − S v_t) are the
//   keys of a second scan, S ← S diag(exp gv) + n vᵀ, which is read. A few tokens go row by row of the state, one pass each.
//   Time 2·T·D·Dv per head, state D·Dv.
#pragma once

#include <attenta/linear/feature_maps.hpp>

#include <optional>

ATTENTA_BEGIN

/// gv is the natural logarithm of the gates of value channels, <= 0; absent: 0. The state stays bounded where ‖v‖² β <= 2: layers
/// normalise v, which qk_l2norm does not. Heads as in gla.hpp.
struct GatedOjaRuleInputs {
    Heads<const float> q, k, v, beta, gv = {};
    static constexpr const char *output = "[Ho, T, Dv]", *state = "[Hs, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", x.k, "[Hk, T, D]");
        visit("v", x.v, "[Hv, T, Dv]");
        visit("beta", x.beta, "[Hs, T]");
        visit("gv", x.gv, "[Hs, T, Dv]", Input::optional | Input::gate);
    }
};

struct GatedOjaRuleOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D); any finite value
    bool qk_l2norm = false;           ///< q and k are divided by sqrt(Σ x² + eps) first
    float eps = 1e-6f;
    bool check_data = false;  ///< refuse NaN anywhere and gates above 0, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of the output, default 1/sqrt(D)");
        visit("qk_l2norm", o.qk_l2norm, "normalise q and k");
        visit("eps", o.eps, "added to the squared norm");
        visit("check_data", o.check_data, "refuse NaN and gates above 0");
    }
};

/// o [Ho, T, Dv]. Throws Error on shapes that do not fit, on a state with snapshots (its scans could not give those of a shorter
/// call to the bit), and on bad numbers with `check_data`; nothing is written then.
void gated_oja_rule(const GatedOjaRuleInputs& x, Heads<float> o, LinearState& state,
                    const GatedOjaRuleOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/delta/gated_oja_rule.inl>
#include <attenta/linear/delta/gated_oja_rule_kernels.inl>
#endif
