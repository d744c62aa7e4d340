#pragma once

#include <attenta/analysis/common/ranking.hpp>
#include <attenta/analysis/kernels.hpp>
#include <attenta/analysis/sentinel_features.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_probe(const Check& check, const SentinelFeaturesInputs& x, const SentinelFeaturesOptions& options) {
    const bool probe = !x.coef.empty();
    const auto belongs = [&](const char* name, std::span<const float> part, const char* by) {
        if (!part.empty()) check.needs(name, probe, by);
    };
    belongs("coef", x.intercept, "intercept");
    belongs("coef", x.mean, "mean");
    belongs("coef", x.std, "std");
    if (probe) check.needs("intercept", !x.intercept.empty(), "coef");
    if (!x.mean.empty()) check.needs("std", !x.std.empty(), "mean");
    if (!x.std.empty()) check.needs("mean", !x.mean.empty(), "std");
    const auto per_head = [&](const char* name, std::span<const float> part) {
        if (!part.empty() && std::ssize(part) != x.attn.count(0, 2))
            check.refuse(std::string(name) + " is [" + checks::text(std::ssize(part)) + "], needs [" +
                         checks::text(x.attn.count(0, 2)) + "], a number for every head");
        check.finite_numbers(name, part.data(), std::ssize(part));
    };
    per_head("coef", x.coef);
    per_head("mean", x.mean);
    per_head("std", x.std);
    check.finite_numbers("intercept", x.intercept.data(), std::ssize(x.intercept));
    for (const float s : x.std)
        if (s <= 0) check.refuse("std is " + std::to_string(s) + ", needs numbers above 0");
    if (!options.budget) return;
    check.needs("coef", probe, "budget");
    check.at_least("budget", *options.budget, 0);
}

inline void check_sentinel_features(const SentinelFeaturesInputs& x, const SentinelFeaturesOutputs& out,
                                    const SentinelFeaturesOptions& options) {
    Check check("sentinel_features", x);
    const std::int64_t keys = x.attn.size(2);
    check.range("context_start", options.context_start, 0, keys - 1);
    check.range("context_end", options.context_end, options.context_start + 1, keys);
    check.token_ranges("sentence", x.sent_start, x.sent_end, options.context_start, options.context_end);
    check.scratch("the features", std::ssize(x.sent_start), x.attn.size(0), x.attn.size(1));
    check.finite_numbers("attn", x.attn);
    check_probe(check, x, options);
    check.outputs(out, x, options);
}

/// [S, L·H]
inline std::vector<double> sentence_features(const SentinelFeaturesInputs& x, const SentinelFeaturesOptions& options,
                                             Context& context) {
    const std::int64_t heads = x.attn.count(0, 2), keys = x.attn.size(2);
    std::vector<double> features(x.sent_start.size() * static_cast<std::size_t>(heads));
    for_pieces(context, heads, 16, [&](std::int64_t begin, std::int64_t end) {
        const SumOfWeights sum = sum_of_weights();
        for (std::int64_t h = begin; h < end; ++h) {
            const float* const row = x.attn.data + h * keys;
            const double all = double{sum(row + options.context_start, options.context_end - options.context_start)};
            for (std::size_t s = 0; s < x.sent_start.size(); ++s) {
                const std::int64_t tokens = x.sent_end[s] - x.sent_start[s];
                features[s * static_cast<std::size_t>(heads) + static_cast<std::size_t>(h)] =
                    double{sum(row + x.sent_start[s], tokens)} / std::max(all, 1e-8) / static_cast<double>(tokens);
            }
        }
    });
    return features;
}

inline double probability_of(const SentinelFeaturesInputs& x, std::span<const double> features) {
    double logit = double{x.intercept[0]};
    for (std::size_t h = 0; h < features.size(); ++h) {
        const double f = x.mean.empty() ? features[h] : (features[h] - double{x.mean[h]}) / double{x.std[h]};
        logit += double{x.coef[h]} * f;
    }
    return 1 / (1 + std::exp(-logit));
}

/// The first sentence that does not fit ends the choice, though shorter ones may follow.
inline void keep_sentences(const SentinelFeaturesInputs& x, const std::vector<double>& probability, std::int64_t budget,
                           std::int64_t* keep) {
    const std::vector<std::int64_t> order = descending(std::span(probability));
    std::fill_n(keep, order.size(), 0);
    for (const std::int64_t s : order) {
        const auto i = static_cast<std::size_t>(s);
        const std::int64_t tokens = x.sent_end[i] - x.sent_start[i];
        if (tokens > budget) break;
        keep[s] = 1;
        budget -= tokens;
    }
    keep[order.front()] = 1;
}

}  // namespace detail

ATTENTA_INLINE void sentinel_features(const SentinelFeaturesInputs& x, const SentinelFeaturesOutputs& out,
                                      const SentinelFeaturesOptions& options, Context& context) {
    detail::check_sentinel_features(x, out, options);
    const std::vector<double> features = detail::sentence_features(x, options, context);
    const auto narrow = [](double a) { return static_cast<float>(a); };
    if (out.features) std::transform(features.begin(), features.end(), out.features, narrow);
    if (!out.probability && !out.keep) return;
    std::vector<double> probability;
    const std::size_t heads = features.size() / x.sent_start.size();
    for (std::size_t s = 0; s < x.sent_start.size(); ++s)
        probability.push_back(detail::probability_of(x, std::span(features).subspan(s * heads, heads)));
    if (out.probability) std::transform(probability.begin(), probability.end(), out.probability, narrow);
    if (out.keep) detail::keep_sentences(x, probability, *options.budget, out.keep);
}

}  // namespace analysis

ATTENTA_END
