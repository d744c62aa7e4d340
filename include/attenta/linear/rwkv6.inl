#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/rwkv6.hpp>

ATTENTA_BEGIN

ATTENTA_INLINE void rwkv6(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<const float> g,
                          Heads<const float> u, Heads<float> o, LinearState& state, const Rwkv6Options& options,
                          Context& context) {
    detail::require("rwkv6", "g", g);
    detail::require("rwkv6", "u", u);
    scan::check_shape("rwkv6", "g", g, k.heads, k.tokens, k.dim);
    detail::require_same_heads("rwkv6", {{"k", k.heads}, {"v", v.heads}}, q.heads);
    scan::Request r{.function = "rwkv6", .q = q, .k = k, .v = v, .g = g, .u = u};
    r.read_before = true;
    r.scale = options.scale;
    detail::run_scan(r, o, state, options.check_data, context);
}

ATTENTA_END
