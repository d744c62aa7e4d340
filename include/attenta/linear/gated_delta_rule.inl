#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/delta_rule.inl>
#include <attenta/linear/gated_delta_rule.hpp>

#include <algorithm>

ATTENTA_BEGIN

ATTENTA_INLINE void gated_delta_rule(Heads<const float> q, Heads<const float> k, Heads<const float> v,
                                     Heads<const float> g, Heads<const float> beta, Heads<float> o, LinearState& state,
                                     const GatedDeltaRuleOptions& options, Context& context) {
    const row_maps::L2Norm norm{options.eps};
    scan::Request r = detail::delta_request("gated_delta_rule", q, k, v, g, beta, options.qk_l2norm ? &norm : nullptr);
    detail::require("gated_delta_rule", "g", g);
    scan::check_shape("gated_delta_rule", "g", g, std::max(k.heads, v.heads), k.tokens, 1);
    r.scale = detail::scale_or_default(options.scale, q.dim);
    if (!(options.eps >= 0)) fail("gated_delta_rule", "eps is " + std::to_string(options.eps) + ", needs at least 0");
    detail::run_scan(r, o, state, options.check_data, context);
}

ATTENTA_END
