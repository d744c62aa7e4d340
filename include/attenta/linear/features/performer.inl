#pragma once

#include <attenta/engine/scan/job.hpp>
#include <attenta/linear/common.inl>
#include <attenta/linear/features/performer.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// 1 / (den + 2δ where |den| <= δ)
struct PerformerDenominators {
    float stabilizer;
    static float factor(const void* parameters, std::int64_t, std::int64_t, float sum, float) {
        const float d = static_cast<const PerformerDenominators*>(parameters)->stabilizer;
        return 1.f / (sum + (std::abs(sum) <= d ? 2 * d : 0.f));
    }
};

/// K of each head: the largest c w·k. Keys with a NaN or an infinity spoil their own features alone.
inline void find_key_max(Heads<const float> k, features::Random features, std::int64_t count,
                         std::vector<float>& key_max) {
    features.kind = features::Random::products;
    key_max.assign(static_cast<std::size_t>(k.heads), -std::numeric_limits<float>::infinity());
    std::vector<float> y(static_cast<std::size_t>(scan::chunk * count));
    for (std::int64_t h = 0; h < k.heads; ++h)
        for (std::int64_t t = 0; t < k.tokens; t += scan::chunk) {
            const std::int64_t rows = std::min(scan::chunk, k.tokens - t);
            features::random_features()({{&features, k.dim, count, h, t}, rows, k.token_stride, count}, k.row(h, t),
                                        y.data());
            float& top = key_max[static_cast<std::size_t>(h)];
            for (const float p : std::span(y).first(static_cast<std::size_t>(rows * count)))
                if (p > top && is_finite(p)) top = p;
        }
}

inline void check_performer(const PerformerInputs& x, const LinearState& state, const PerformerOptions& o, float eps) {
    const char* f = "performer";
    const auto text = [](auto n) { return std::to_string(n); };
    const Matrices<const float>& w = x.projection;
    if (w.data && (w.heads != 1 || w.rows < 1 || w.cols != x.k.dim))
        fail(f, "projection is [" + text(w.heads) + ", " + text(w.rows) + ", " + text(w.cols) + "], needs [1, M, " +
                    text(x.k.dim) + "] with M at least 1");
    if (w.rows > 1 && w.row_stride != w.cols)
        fail(f, "projection has stride " + text(w.row_stride) + " of rows, needs " + text(w.cols));
    require_grouped_queries(f, x.q.heads, x.k.heads, x.v.heads);
    require_not_negative(f, "eps", eps);
    require_not_negative(f, "denominator_stabilizer", o.denominator_stabilizer);
    if (o.kernel != PerformerKernel::softmax) return;
    if (!state.empty() && x.key_max.empty() && static_cast<std::int64_t>(state.key_max.size()) != x.k.heads)
        fail(f, "state.key_max has " + text(state.key_max.size()) + " elements, needs " + text(x.k.heads));
}

}  // namespace detail

ATTENTA_INLINE void performer(const PerformerInputs& x, Heads<float> o, LinearState& state,
                              const PerformerOptions& options, Context& context) {
    const auto& [q, k, v, projection, given_max] = x;
    const bool softmax = options.kernel == PerformerKernel::softmax;
    const float eps = options.eps.value_or(softmax ? 1e-6f : 1e-3f);
    const float c = options.normalize_data.value_or(softmax) ? std::pow(static_cast<float>(k.dim), -0.25f) : 1.f;
    scan::Request r{.function = "performer", .q = q, .k = k, .v = v};
    r.features = projection.rows;
    r.causal = options.causal;
    r.lengths_differ = true;
    r.normalizer = true;
    detail::check_performer(x, state, options, eps);
    scan::check(r, InputList(x), o, state, options.check_data);

    features::Random map{projection.data, softmax ? features::Random::softmax : features::Random::relu, c,
                         options.ratio ? 1.f / std::sqrt(static_cast<float>(projection.rows)) : 1.f, eps};
    std::vector<float> key_max;
    const float* top = nullptr;
    if (softmax && !given_max.empty()) {
        top = given_max.data();
    } else if (softmax) {
        if (state.empty()) detail::find_key_max(k, map, projection.rows, key_max);
        top = state.empty() ? key_max.data() : state.key_max.data();
    }
    features::Random key_map = map;
    key_map.per_head = top;
    r.q_map = {.parameters = &map, .together = features::random_features()};
    r.k_map = {.parameters = &key_map, .together = features::random_features()};
    const detail::PerformerDenominators denominators{options.denominator_stabilizer};
    r.finish = {&detail::PerformerDenominators::factor, &denominators};
    const auto heads = static_cast<std::size_t>(k.heads);
    std::vector<float> kept;  // the state's, made before anything changes
    if (softmax && state.key_max.size() != heads) kept.assign(top, top + k.heads);
    scan::run(r, o, state, context);
    if (!softmax || top == state.key_max.data()) return;
    if (kept.empty())
        std::copy_n(top, heads, state.key_max.data());
    else
        state.key_max.swap(kept);
}

ATTENTA_END
