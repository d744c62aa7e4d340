#pragma once

#include <attenta/linear/delta_rule.inl>
#include <attenta/linear/kda.hpp>

ATTENTA_BEGIN

ATTENTA_INLINE void kda(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<const float> g,
                        Heads<const float> beta, Heads<float> o, LinearState& state, const KdaOptions& options,
                        Context& context) {
    detail::run_delta("kda", q, k, v, g, k.dim, beta, o, state, options, context);
}

ATTENTA_END
