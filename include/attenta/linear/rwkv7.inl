#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/rwkv7.hpp>

ATTENTA_BEGIN

ATTENTA_INLINE void rwkv7(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<const float> a,
                          Heads<const float> b, Heads<const float> g, Heads<float> o, LinearState& state,
                          const Rwkv7Options& options, Context& context) {
    detail::require("rwkv7", "a", a);
    detail::require("rwkv7", "b", b);
    detail::require("rwkv7", "g", g);
    scan::check_shape("rwkv7", "g", g, k.heads, k.tokens, k.dim);
    detail::require_same_heads("rwkv7", {{"k", k.heads}, {"v", v.heads}}, q.heads);
    scan::Request r{.function = "rwkv7", .q = q, .k = k, .v = v, .g = g, .a = a, .b = b};
    r.update = scan::Update::low_rank;
    r.scale = options.scale;
    detail::run_scan(r, o, state, options.check_data, context);
}

ATTENTA_END
