#pragma once

#include <attenta/analysis/common/queries_and_keys.hpp>
#include <attenta/analysis/common/ranking.hpp>
#include <attenta/analysis/common/score_rows.hpp>
#include <attenta/analysis/kernels.hpp>
#include <attenta/analysis/projection_kernels.hpp>
#include <attenta/analysis/separability.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

/// The largest norm [Hkv, Tk] of the keys up to each.
inline std::vector<double> largest_norms(const Heads<const float>& k) {
    std::vector<double> norms(static_cast<std::size_t>(k.heads * k.tokens));
    for (std::int64_t h = 0; h < k.heads; ++h) {
        double most = 0;
        for (std::int64_t j = 0; j < k.tokens; ++j) {
            most = std::max(most, std::sqrt(double{dot_of_weights()(k.row(h, j), k.row(h, j), k.dim)}));
            norms[static_cast<std::size_t>(h * k.tokens + j)] = most;
        }
    }
    return norms;
}

struct Separation {
    double distance = 0, separable = 0;
};

/// Of one query's weights on the first `count` rows of head `head` of v.
inline Separation separate(const float* weights, std::int64_t count, const Heads<const float>& v, std::int64_t head,
                           std::int64_t top_n) {
    std::vector<std::int64_t> chosen(static_cast<std::size_t>(std::min(top_n, count)));
    largest(weights, count, std::ssize(chosen), chosen.data());
    std::vector<bool> is_chosen(static_cast<std::size_t>(count));
    for (const std::int64_t j : chosen) is_chosen[static_cast<std::size_t>(j)] = true;
    std::vector<float> selected(static_cast<std::size_t>(v.dim)), others(selected.size());
    for (std::int64_t j = 0; j < count; ++j)
        add_weighted_row()(v.row(head, j), v.dim, weights[j],
                           (is_chosen[static_cast<std::size_t>(j)] ? selected : others).data());
    // |α v − s|² − |s|²: distances to s of weighted values that nearly vanish differ far below the digits of |s|.
    const DotOfWeights dot = dot_of_weights();
    const auto away = [&](std::int64_t j) {
        const double weight = double{weights[j]};
        const float* const value = v.row(head, j);
        return weight * (weight * double{dot(value, value, v.dim)} - 2 * double{dot(value, selected.data(), v.dim)});
    };
    double reach = std::numeric_limits<double>::infinity();
    for (std::int64_t j = 0; j < count; ++j)
        if (!is_chosen[static_cast<std::size_t>(j)]) reach = std::min(reach, away(j));
    const auto inside = std::count_if(chosen.begin(), chosen.end(), [&](std::int64_t j) { return away(j) <= reach; });
    return {std::sqrt(double{scaled_distance()(others.data(), 1.f, selected.data(), v.dim)}),
            static_cast<double>(inside) / static_cast<double>(chosen.size())};
}

}  // namespace detail

ATTENTA_INLINE void separability(const SeparabilityInputs& x, const SeparabilityOutputs& out,
                                 const SeparabilityOptions& options, Context& context) {
    Check check("separability", x);
    const float scale = check_scores(check, x.q, x.k, options.causal, options.scale);
    check.at_least("top_n", options.top_n, 1);
    check.finite_numbers("q", x.q);
    check.finite_numbers("k", x.k);
    check.finite_numbers("v", x.v);
    check.outputs(out, x, options);

    const std::int64_t group = x.q.heads / x.k.heads;
    const std::vector<double> norms = detail::largest_norms(x.k);
    const auto give = [](float* to, std::int64_t at, double value) {
        if (to) to[at] = static_cast<float>(value);
    };
    for_score_rows(x.q, x.k, scale, options.causal, context,
                   [&](std::int64_t h, std::int64_t i, float* scores, std::int64_t count) {
                       const std::int64_t at = h * x.q.tokens + i, kv_head = h / group;
                       const PowerSums sums = weigh_scores()(scores, count, scores);
                       const double s2 = sums.squares, s3 = sums.cubes;
                       give(out.lse, at, double{sums.lse});
                       give(out.sensitivity, at, std::sqrt(std::max(s2 - 2 * s3 + s2 * s2, 0.0)));
                       const float* const q = x.q.row(h, i);
                       const double reach = std::abs(double{scale}) *
                                            std::sqrt(double{dot_of_weights()(q, q, x.q.dim)}) *
                                            norms[static_cast<std::size_t>(kv_head * x.k.tokens + count - 1)];
                       const double uniform = -std::log(static_cast<double>(count));
                       give(out.log_lower, at, uniform - 2 * reach);
                       give(out.log_upper, at, uniform + 2 * reach);
                       if (!out.distance && !out.separable) return;
                       const auto apart = detail::separate(scores, count, x.v, kv_head, options.top_n);
                       give(out.distance, at, apart.distance);
                       give(out.separable, at, apart.separable);
                   });
}

}  // namespace analysis

ATTENTA_END
