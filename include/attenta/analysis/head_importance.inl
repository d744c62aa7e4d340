#pragma once

#include <attenta/analysis/common/ranking.hpp>
#include <attenta/analysis/head_importance.hpp>
#include <attenta/analysis/kernels.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

/// How many tokens are real.
inline std::int64_t check_head_importance(const HeadImportanceInputs& x, const HeadImportanceOutputs& out,
                                          const HeadImportanceOptions& options) {
    Check check("head_importance", x);
    check.at_least("prune", options.prune, 0);
    check.range("min_heads", options.min_heads, 0, x.o.size(2));
    check.finite_numbers("o", x.o);
    check.finite_numbers("grad_o", x.grad_o);
    std::int64_t tokens = x.o.size(0) * x.o.size(3);
    if (x.token_mask)
        tokens -= std::count(x.token_mask.data, x.token_mask.data + x.token_mask.count(), std::int64_t{0});
    if (tokens == 0) check.refuse("token_mask has no token, needs one at least");
    check.outputs(out, x, options);
    return tokens;
}

/// |Σ_t c| or Σ_t |c| of one sample's head.
inline double importance_of_sample(const HeadImportanceInputs& x, std::int64_t sample, std::int64_t head,
                                   ImportancePer per, std::vector<double>& products) {
    const std::int64_t tokens = x.o.size(3), dim = x.o.size(4), at = (sample * x.o.count(1, 3) + head) * tokens * dim;
    precise_dots()(x.o.data + at, x.grad_o.data + at, tokens, dim, products.data());
    double sum = 0;
    for (std::int64_t t = 0; t < tokens; ++t) {
        if (x.token_mask && x.token_mask.data[sample * tokens + t] == 0) continue;
        const double c = products[static_cast<std::size_t>(t)];
        sum += per == ImportancePer::token ? std::abs(c) : c;
    }
    return std::abs(sum);
}

inline void normalize_layers(std::vector<double>& importance, std::int64_t heads) {
    for (auto layer = importance.begin(); layer != importance.end(); layer += heads) {
        double squares = 0;
        for (auto i = layer; i != layer + heads; ++i) squares += *i * *i;
        for (auto i = layer; i != layer + heads; ++i) *i /= std::sqrt(squares) + 1e-20;
    }
}

/// Heads that stay whatever is pruned.
inline std::vector<bool> kept_heads(const std::vector<double>& importance, std::int64_t heads, std::int64_t min_heads) {
    std::vector<bool> kept(importance.size());
    for (std::size_t first = 0; first < importance.size(); first += static_cast<std::size_t>(heads)) {
        const auto order = ascending(std::span(importance).subspan(first, static_cast<std::size_t>(heads)));
        for (std::int64_t n = heads - min_heads; n < heads; ++n)
            kept[first + static_cast<std::size_t>(order[static_cast<std::size_t>(n)])] = true;
    }
    return kept;
}

}  // namespace detail

ATTENTA_INLINE void head_importance(const HeadImportanceInputs& x, const HeadImportanceOutputs& out,
                                    const HeadImportanceOptions& options, Context& context) {
    const std::int64_t real_tokens = detail::check_head_importance(x, out, options);
    const std::int64_t samples = x.o.size(0), heads = x.o.size(2), all = x.o.count(1, 3);
    const auto divisor = static_cast<double>(options.per == ImportancePer::sample ? samples : real_tokens);
    std::vector<double> importance(static_cast<std::size_t>(all));
    context.executor().parallel_for(all, [&](std::int64_t h, int) {
        std::vector<double> products(static_cast<std::size_t>(x.o.size(3)));
        double sum = 0;
        for (std::int64_t n = 0; n < samples; ++n) sum += detail::importance_of_sample(x, n, h, options.per, products);
        importance[static_cast<std::size_t>(h)] = sum / divisor;
    });
    if (options.normalize) detail::normalize_layers(importance, heads);
    const std::vector<std::int64_t> order = ascending(std::span<const double>(importance));
    if (out.importance)
        std::transform(importance.begin(), importance.end(), out.importance,
                       [](double i) { return static_cast<float>(i); });
    if (out.order) std::copy(order.begin(), order.end(), out.order);
    if (!out.head_mask) return;
    const std::vector<bool> kept = detail::kept_heads(importance, heads, options.min_heads);
    std::fill_n(out.head_mask, all, 1);
    std::int64_t left = options.prune;
    for (const std::int64_t h : order)
        if (left > 0 && !kept[static_cast<std::size_t>(h)]) {
            out.head_mask[h] = 0;
            --left;
        }
}

}  // namespace analysis

ATTENTA_END
