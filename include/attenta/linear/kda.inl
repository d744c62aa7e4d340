#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/delta_rule.inl>
#include <attenta/linear/kda.hpp>

#include <algorithm>

ATTENTA_BEGIN

ATTENTA_INLINE void kda(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<const float> g,
                        Heads<const float> beta, Heads<float> o, LinearState& state, const KdaOptions& options,
                        Context& context) {
    const row_maps::L2Norm norm{options.eps};
    scan::Request r = detail::delta_request("kda", q, k, v, g, beta, options.qk_l2norm ? &norm : nullptr);
    detail::require("kda", "g", g);
    scan::check_shape("kda", "g", g, std::max(k.heads, v.heads), k.tokens, k.dim);
    r.scale = detail::scale_or_default(options.scale, q.dim);
    if (!(options.eps >= 0)) fail("kda", "eps is " + std::to_string(options.eps) + ", needs at least 0");
    detail::run_scan(r, o, state, options.check_data, context);
}

ATTENTA_END
