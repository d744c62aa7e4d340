// Delta rule (DeltaNet). Schlag et al. 2021; Yang et al. 2024, "Parallelizing Linear Transformers with the Delta Rule".
//
//   S ← S_{t-1};   S_t = S + β_t k_t (v_t − Sᵀ k_t)ᵀ;   o_t = scale · S_tᵀ q_t
//
//   In chunks: the corrected values of a chunk solve a unit triangular system (WY form). Time T·D·Dv per head, state D·Dv.
#pragma once

#include <attenta/linear/feature_maps.hpp>

#include <optional>

ATTENTA_BEGIN

/// Heads as in gla.hpp: Hs = max(Hk, Hv) state heads, Ho = max(Hq, Hs) output heads.
struct DeltaRuleInputs {
    Heads<const float> q, k, v, beta;
    static constexpr const char *output = "[Ho, T, Dv]", *state = "[Hs, D, Dv]";

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", x.k, "[Hk, T, D]");
        visit("v", x.v, "[Hv, T, Dv]");
        visit("beta", x.beta, "[Hs, T]");
    }
};

struct DeltaRuleOptions {
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

namespace detail {

/// The delta rules, which differ in their gates and in what predicts.
template <class Inputs>
void run_delta(const Inputs& x, scan::Request r, Heads<float> o, LinearState& state, const DeltaRuleOptions& options,
               Context& context) {
    require_not_negative(r.function, "eps", options.eps);
    const features::L2Norm norm{options.eps};
    r.update = scan::Update::delta;
    if (options.qk_l2norm) r.q_map = r.k_map = r.a_map = {features::l2_norm(), &norm};
    r.scale = scale_or_default(options.scale, r.q.dim);
    scan::check_and_run(x, r, o, state, options.check_data, context);
}

}  // namespace detail

/// o [Ho, T, Dv]. Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
inline void delta_rule(const DeltaRuleInputs& x, Heads<float> o, LinearState& state,
                       const DeltaRuleOptions& options = {}, Context& context = default_context()) {
    const scan::Request r{.function = "delta_rule", .q = x.q, .k = x.k, .v = x.v, .beta = x.beta};
    detail::run_delta(x, r, o, state, options, context);
}

ATTENTA_END
