#pragma once

#include <attenta/analysis/common/ranking.hpp>
#include <attenta/analysis/common/weight_sums.hpp>
#include <attenta/analysis/context_contribution.hpp>

#include <algorithm>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_context_contribution(const ContextContributionInputs& x, const ContextContributionOutputs& out,
                                       const ContextContributionOptions& options) {
    Check check("context_contribution", x);
    const std::int64_t tokens = x.attn.size(2);
    check.range("the number of budgets", std::ssize(options.budgets), x.attn.size(0), x.attn.size(0));
    for (const std::int64_t budget : options.budgets) check.range("budgets", budget, 1, tokens);
    check.indices("protected", options.protected_tokens, tokens);
    check.finite_numbers("attn", x.attn);
    check.outputs(out, x, options);
}

/// Of an even number the mean of the two in the middle.
inline double median_of(std::vector<float> x) {
    const auto middle = x.begin() + std::ssize(x) / 2;
    std::nth_element(x.begin(), middle, x.end());
    const double upper = double{*middle};
    return x.size() % 2 == 1 ? upper : 0.5 * (upper + double{*std::max_element(x.begin(), middle)});
}

inline void keep_tokens(std::span<const float> score, std::int64_t budget, std::span<const std::int64_t> protects,
                        std::int64_t* keep) {
    std::fill_n(keep, score.size(), 0);
    const auto take = [&](std::span<const std::int64_t> tokens) {
        for (const std::int64_t t : tokens)
            if (budget > 0 && keep[t] == 0) {
                keep[t] = 1;
                --budget;
            }
    };
    take(protects);
    take(descending(score));
}

}  // namespace detail

ATTENTA_INLINE void context_contribution(const ContextContributionInputs& x, const ContextContributionOutputs& out,
                                         const ContextContributionOptions& options, Context& context) {
    detail::check_context_contribution(x, out, options);
    const std::int64_t layers = x.attn.size(0), tokens = x.attn.size(2), rows = x.attn.size(1) * tokens;
    Arrays<float> arrays;
    float* const score = arrays.wanted_or_own(out.score, layers * tokens);
    column_sums({x.attn.data, layers, rows, tokens}, 1.f / static_cast<float>(rows), score, context);
    for (std::int64_t l = 0; l < layers; ++l) {
        const std::span<const float> of_layer(score + l * tokens, static_cast<std::size_t>(tokens));
        if (out.contribution)
            out.contribution[l] =
                static_cast<float>(static_cast<double>(tokens) * detail::median_of({of_layer.begin(), of_layer.end()}));
        if (out.keep)
            detail::keep_tokens(of_layer, options.budgets[static_cast<std::size_t>(l)], options.protected_tokens,
                                out.keep + l * tokens);
    }
}

}  // namespace analysis

ATTENTA_END
