#pragma once

#include <attenta/engine/scan/features.hpp>
#include <attenta/linear/common.inl>
#include <attenta/linear/delta_rule.hpp>

#include <algorithm>

ATTENTA_BEGIN

namespace detail {

/// The delta rules, which differ in their gates: g is [Hs, T, gate_dim], or not there with gate_dim 0.
template <class Options>
void run_delta(const char* function, Heads<const float> q, Heads<const float> k, Heads<const float> v,
               Heads<const float> g, std::int64_t gate_dim, Heads<const float> beta, Heads<float> o, LinearState& state,
               const Options& options, Context& context) {
    require(function, "beta", beta);
    if (gate_dim > 0) {
        require(function, "g", g);
        scan::check_shape(function, "g", g, std::max(k.heads, v.heads), k.tokens, gate_dim);
    }
    require_not_negative(function, "eps", options.eps);
    const features::L2Norm norm{options.eps};
    scan::Request r{.function = function, .q = q, .k = k, .v = v, .g = g, .beta = beta};
    r.update = scan::Update::delta;
    if (options.qk_l2norm) r.q_map = r.k_map = {features::l2_norm(), &norm};
    r.scale = scale_or_default(options.scale, q.dim);
    run_scan(r, o, state, options.check_data, context);
}

}  // namespace detail

ATTENTA_INLINE void delta_rule(Heads<const float> q, Heads<const float> k, Heads<const float> v,
                               Heads<const float> beta, Heads<float> o, LinearState& state,
                               const DeltaRuleOptions& options, Context& context) {
    detail::run_delta("delta_rule", q, k, v, {}, 0, beta, o, state, options, context);
}

ATTENTA_END
