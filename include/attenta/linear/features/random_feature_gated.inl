#pragma once

#include <attenta/core/saturating.hpp>
#include <attenta/linear/common.inl>
#include <attenta/linear/features/random_feature_gated.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// 1 / max(den, eps)
struct ClampedDenominator {
    float eps;
    static float factor(const void* parameters, std::int64_t, std::int64_t, float sum, float) {
        const float eps = static_cast<const ClampedDenominator*>(parameters)->eps, den = sum > eps ? sum : eps;
        return sum != sum ? sum : den > 0 ? 1.f / den : 0.f;
    }
};

/// What the gates do to the sums, as the scan takes it: the logarithm of own_u keep_(u-1) before a key comes, and put_u.
struct SentenceGates {
    float *decays, *puts;  ///< [heads, tokens]

    /// Returns keep of the last token. `last` is the gate of the last separator, 0 before the first.
    float fill(const RandomFeatureGatedInputs& x, SentenceGate mode, std::int64_t head, float& last) const {
        const std::int64_t tokens = x.k.tokens;
        float keep = 1;
        for (std::int64_t u = 0; u < tokens; ++u) {
            const float gate = x.gate.row(head, u)[0];
            const bool token = mode == SentenceGate::token;
            const float kept = token ? gate : keep;
            decays[head * tokens + u] = kept == 1   ? 0
                                        : kept == 0 ? -std::numeric_limits<float>::infinity()
                                                    : std::log(kept);
            puts[head * tokens + u] = token ? 1 - gate : mode == SentenceGate::convex ? 1 - last : 1;
            keep = 1;
            if (!token && x.separator[static_cast<std::size_t>(u)] != 0) keep = last = gate;
        }
        return keep;
    }
};

inline void check_random_feature_gated(const RandomFeatureGatedInputs& x, const LinearState& state,
                                       const RandomFeatureGatedOptions& options) {
    const char* f = "random_feature_gated";
    const auto text = [](auto n) { return std::to_string(n); };
    require_grouped_queries(f, x.q.heads, x.k.heads, x.v.heads);
    if (x.projection.tokens < 1) fail(f, "projection has 0 rows, needs at least 1");
    require_not_negative(f, "eps", options.eps);
    for (const auto& [name, number] : {std::pair{"tau", options.tau}, {"feature_scale", options.feature_scale}})
        if (!is_finite(number) || number == 0)
            fail(f, std::string(name) + " is " + text(number) + ", needs a finite number that is not 0");
    const bool gated = options.gate_mode != SentenceGate::none,
               sentences = gated && options.gate_mode != SentenceGate::token;
    const std::string mode(names_of(options.gate_mode)[static_cast<std::size_t>(options.gate_mode)]);
    if (gated && !options.causal) fail(f, "gate_mode is " + mode + ", without causal it needs to be none");
    if (gated && !x.gate.data) fail(f, "gate is null, gate_mode " + mode + " needs a tensor");
    if (sentences && x.separator.empty()) fail(f, "separator is null, gate_mode " + mode + " needs a tensor");
    for (const std::int64_t s : x.separator)
        if (s != 0 && s != 1) fail(f, "separator is " + text(s) + ", needs 0 or 1");
    if (options.gate_mode == SentenceGate::convex && !state.empty() &&
        static_cast<std::int64_t>(state.weight.size()) != state.heads)
        fail(f, "state.weight has " + text(state.weight.size()) + " elements, needs " + text(state.heads));
    for (std::int64_t h = 0; gated && options.check_data && h < x.gate.heads; ++h)
        for (std::int64_t t = 0; t < x.gate.tokens; ++t)
            if (const float gate = x.gate.row(h, t)[0]; !(gate >= 0 && gate <= 1))
                fail(f, "gate is " + text(gate) + ", needs a number from 0 to 1");
}

}  // namespace detail

ATTENTA_INLINE void random_feature_gated(const RandomFeatureGatedInputs& x, Heads<float> o, LinearState& state,
                                         const RandomFeatureGatedOptions& options, Context& context) {
    const bool trig = options.random_feature == RandomFeature::trig, gated = options.gate_mode != SentenceGate::none,
               convex = options.gate_mode == SentenceGate::convex;
    const std::int64_t heads = x.k.heads, tokens = x.k.tokens;
    scan::Request r{.function = "random_feature_gated", .q = x.q, .k = x.k, .v = x.v};
    r.features = saturating::multiply(trig ? 2 : 1, std::max<std::int64_t>(x.projection.tokens, 1));
    r.causal = options.causal;
    r.lengths_differ = true;
    r.normalizer = true;
    scan::check(r, InputList(x), o, state, options.check_data);
    detail::check_random_feature_gated(x, state, options);

    features::Random k_map{x.projection.data, trig ? features::Random::trig : features::Random::softmax};
    k_map.c = trig ? 1.f : std::pow(static_cast<float>(x.k.dim), -0.25f);
    k_map.ratio = options.feature_scale;
    k_map.tau = options.tau;
    k_map.weight_stride = x.projection.token_stride;
    k_map.head_stride = x.projection.head_stride;
    k_map.own_heads = true;
    k_map.sigma = x.sigma;
    features::Random q_map = k_map;
    q_map.group = x.q.heads / heads;
    r.k_map = {.parameters = &k_map, .together = features::random_features()};
    r.q_map = {.parameters = &q_map, .together = features::random_features()};
    const detail::ClampedDenominator denominator{options.eps};
    r.finish = {&detail::ClampedDenominator::factor, &denominator};
    if (!gated) return scan::run(r, o, state, context);

    const detail::InlineArray<float, 1024> gates(2 * heads * tokens), ends(2 * heads);
    const detail::SentenceGates filled{gates.data(), gates.data() + heads * tokens};
    float *const keeps = ends.data(), *const lasts = ends.data() + heads;
    const bool is_new = state.empty();
    for (std::int64_t h = 0; h < heads; ++h) {
        lasts[h] = convex && !is_new ? state.weight[static_cast<std::size_t>(h)] : 0.f;
        keeps[h] = filled.fill(x, options.gate_mode, h, lasts[h]);
    }
    r.g = hnd(static_cast<const float*>(filled.decays), heads, tokens, 1);
    k_map.of_tokens = hnd(static_cast<const float*>(filled.puts), heads, tokens, 1);
    std::vector<float> weight;  // the state's, made before anything changes
    if (convex && state.weight.size() != static_cast<std::size_t>(heads))
        weight.resize(static_cast<std::size_t>(heads));
    scan::run(r, o, state, context);
    if (!weight.empty()) state.weight.swap(weight);
    for (std::int64_t h = 0; h < heads; ++h) {
        if (convex) state.weight[static_cast<std::size_t>(h)] = lasts[h];
        if (keeps[h] == 1) continue;
        for (std::int64_t i = 0; i < state.dim * state.dim_v; ++i) state.of(h)[i] *= keeps[h];
        for (std::int64_t i = 0; i < state.dim; ++i)
            state.normalizer[static_cast<std::size_t>(h * state.dim + i)] *= keeps[h];
    }
}

ATTENTA_END
