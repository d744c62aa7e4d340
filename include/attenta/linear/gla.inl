#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/gla.hpp>

ATTENTA_BEGIN

ATTENTA_INLINE void gla(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<const float> g,
                        Heads<float> o, LinearState& state, const GlaOptions& options, Context& context) {
    scan::Request r{.function = "gla", .q = q, .k = k, .v = v, .g = g, .gv = options.gv};
    r.scale = detail::scale_or_default(options.scale, q.dim);
    detail::run_scan(r, o, state, options.check_data, context);
}

ATTENTA_END
