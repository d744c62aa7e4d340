#pragma once

#include <attenta/engine/backend_table.hpp>
#include <attenta/engine/row_maps.hpp>
#include <attenta/linear/common.inl>
#include <attenta/linear/delta_rule.hpp>

ATTENTA_BEGIN

namespace detail {

/// The delta rules' request; q and k normalised if `norm` is given, which must outlive the run.
inline scan::Request delta_request(const char* function, Heads<const float> q, Heads<const float> k,
                                   Heads<const float> v, Heads<const float> g, Heads<const float> beta,
                                   const row_maps::L2Norm* norm) {
    require(function, "beta", beta);
    scan::Request r{.function = function, .q = q, .k = k, .v = v, .g = g, .beta = beta};
    r.update = scan::Update::delta;
    if (norm) r.q_map = r.k_map = {active_backend().l2_norm, norm};
    return r;
}

}  // namespace detail

ATTENTA_INLINE void delta_rule(Heads<const float> q, Heads<const float> k, Heads<const float> v,
                               Heads<const float> beta, Heads<float> o, LinearState& state,
                               const DeltaRuleOptions& options, Context& context) {
    const row_maps::L2Norm norm{options.eps};
    scan::Request r = detail::delta_request("delta_rule", q, k, v, {}, beta, options.qk_l2norm ? &norm : nullptr);
    r.scale = detail::scale_or_default(options.scale, q.dim);
    if (!(options.eps >= 0)) fail("delta_rule", "eps is " + std::to_string(options.eps) + ", needs at least 0");
    detail::run_scan(r, o, state, options.check_data, context);
}

ATTENTA_END
