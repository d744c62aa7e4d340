#pragma once

#include <attenta/linear/delta_rule.inl>
#include <attenta/linear/gated_delta_rule.hpp>

ATTENTA_BEGIN

ATTENTA_INLINE void gated_delta_rule(Heads<const float> q, Heads<const float> k, Heads<const float> v,
                                     Heads<const float> g, Heads<const float> beta, Heads<float> o, LinearState& state,
                                     const GatedDeltaRuleOptions& options, Context& context) {
    detail::run_delta("gated_delta_rule", q, k, v, g, 1, beta, o, state, options, context);
}

ATTENTA_END
