#pragma once

#include <attenta/linear/common.inl>
#include <attenta/linear/features/norm_aware.hpp>

#include <algorithm>
#include <array>
#include <span>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// 1 / (sum of weights + n eps)
struct NormAwareDenominators {
    float eps = 0;
    const float* before = nullptr;  ///< [Hkv] keys of the past
    std::int64_t group = 1, first = 0,
                 step = 0;         ///< keys of the call that query 0 reads, and that each further one adds
    Heads<const float> sums = {};  ///< [Hq, Tq, 1] of weights; without data they come with the call

    static float factor(const void* parameters, std::int64_t head, std::int64_t token, float sum, float) {
        const auto& p = *static_cast<const NormAwareDenominators*>(parameters);
        const float n = p.before[head / p.group] + static_cast<float>(p.first + p.step * token),
                    den = (p.sums.data ? p.sums.row(head, token)[0] : sum) + n * p.eps;
        return den == 0.f ? 0.f : 1.f / den;
    }
};

inline features::NormAware norm_aware_map(const NormAwareInputs& x, const NormAwareOptions& o, bool query) {
    using Map = features::NormAware;
    const Map::Kind kind = o.feature == NormAwareFeature::split ? Map::split
                           : o.angle == NormAwareAngle::tanh    ? Map::angle_tanh
                                                                : Map::angle_direction;
    return {kind,
            query,
            o.power,
            o.alpha,
            x.rope_cos.data,
            x.rope_sin.data,
            x.rope_cos.row_stride,
            x.rope_sin.row_stride,
            query && o.causal ? x.k.tokens - x.q.tokens : 0};
}

inline void check_norm_aware(const NormAwareInputs& x, const NormAwareOptions& o) {
    const char* f = "norm_aware";
    check_memory(f, "k", x.k);  // twice its features are to be counted
    require_grouped_queries(f, x.q.heads, x.k.heads, x.v.heads);
    require_not_negative(f, "eps", o.eps);
    for (const auto& [name, number] : {std::pair{"power", o.power}, {"alpha", o.alpha}})
        if (!is_finite(number) || number <= 0)
            fail(f, std::string(name) + " is " + std::to_string(number) + ", needs a number above 0");
    if (bool(x.rope_cos) != bool(x.rope_sin))
        fail(f, std::string(x.rope_cos ? "rope_sin" : "rope_cos") + " is missing, needs both tables or none");
}

/// Where the shapes fit.
inline void check_norm_aware_tables(const NormAwareInputs& x) {
    if (!x.rope_cos) return;
    if (x.k.dim % 2 != 0)
        fail("norm_aware", "k has " + std::to_string(x.k.dim) + " features, rope_cos needs an even number");
    if (x.q.tokens > x.k.tokens)
        fail("norm_aware",
             "q has " + std::to_string(x.q.tokens) + " tokens, rope_cos has " + std::to_string(x.k.tokens) + " rows");
}

}  // namespace detail

ATTENTA_INLINE void norm_aware(const NormAwareInputs& x, Heads<float> o, LinearState& state,
                               const NormAwareOptions& options, Context& context) {
    detail::check_norm_aware(x, options);
    scan::Request r{.function = "norm_aware", .q = x.q, .k = x.k, .v = x.v};
    r.features = 2 * x.k.dim;
    r.causal = options.causal;
    r.lengths_differ = true;
    r.normalizer = true;
    scan::check(r, InputList(x), o, state, options.check_data);
    detail::require_weight("norm_aware", state);
    detail::check_norm_aware_tables(x);

    features::NormAware queries = detail::norm_aware_map(x, options, true),
                        keys = detail::norm_aware_map(x, options, false), still_queries = queries, still_keys = keys;
    still_queries.cos = still_keys.cos = nullptr;
    r.q_map = {features::norm_aware_features(), &queries};
    r.k_map = {features::norm_aware_features(), &keys};
    scan::Request still = r;
    still.q_map.parameters = &still_queries;
    still.k_map.parameters = &still_keys;
    const bool turned = queries.cos != nullptr;
    const detail::InlineArray<float, 1024> sums(turned ? x.q.heads * x.q.tokens : 0);
    const Heads<float> of_weights = hnd(sums.data(), x.q.heads, x.q.tokens, 1);
    const std::array runs{r, detail::weights_alone(still)};
    detail::begin_with_weight(std::span(runs).first(turned ? 2 : 1), state, context);
    detail::NormAwareDenominators denominators{options.eps, state.weight.data(), x.q.heads / x.k.heads, x.k.tokens};
    if (options.causal) denominators.first = x.k.tokens - x.q.tokens + 1, denominators.step = 1;
    if (turned) denominators.sums = of_weights;
    r.finish = {&detail::NormAwareDenominators::factor, &denominators};
    r.normalizer = !turned;
    if (turned) detail::sum_weights(still, of_weights, state, context);
    scan::run(r, o, state, context);
    for (float& n : state.weight) n += static_cast<float>(x.k.tokens);
}

ATTENTA_END
