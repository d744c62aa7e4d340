#pragma once

#include <attenta/engine/scan/features.hpp>
#include <attenta/linear/common.inl>
#include <attenta/linear/hgrn2.hpp>

ATTENTA_BEGIN

ATTENTA_INLINE void hgrn2(Heads<const float> q, Heads<const float> v, Heads<const float> g, Heads<float> o,
                          LinearState& state, const Hgrn2Options& options, Context& context) {
    detail::require("hgrn2", "g", g);
    scan::check_shape("hgrn2", "g", g, q.heads, q.tokens, q.dim);
    detail::require_same_heads("hgrn2", {{"v", v.heads}}, q.heads);
    scan::Request r{.function = "hgrn2", .q = q, .k = g, .v = v, .g = g};
    r.k_name = "g";
    r.k_map = {features::one_minus_exp(), nullptr};
    r.scale = options.scale;
    detail::run_scan(r, o, state, options.check_data, context);
}

ATTENTA_END
