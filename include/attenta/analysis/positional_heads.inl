#pragma once

#include <attenta/analysis/common/correlation.hpp>
#include <attenta/analysis/positional_heads.hpp>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_positional_heads(const PositionalHeadsInputs& x, const PositionalHeadsOutputs& out,
                                   const PositionalHeadsOptions& options) {
    Check check("positional_heads", x);
    if (x.q.heads % x.k.heads != 0)
        check.refuse("q has " + checks::text(x.q.heads) + " heads, needs a multiple of the " + checks::text(x.k.heads) +
                     " of k");
    if (x.q.dim % 2 != 0) check.refuse("q has " + checks::text(x.q.dim) + " features, needs an even number");
    check.at_least("the number of pairs", std::ssize(x.query_index), 2);
    for (const std::int64_t i : x.query_index) check.range("query_index", i, 0, x.q.tokens - 1);
    for (const std::int64_t j : x.key_index) check.range("key_index", j, 0, x.k.tokens - 1);
    check.finite_numbers("q", x.q);
    check.finite_numbers("k", x.k);
    check.scratch("the parts of the scores", std::ssize(x.query_index), x.q.dim, x.q.heads);
    check.outputs(out, x, options);
}

/// Parts [D/2][P] of a head's scores, and their sums behind them.
inline std::vector<std::vector<double>> score_parts(const PositionalHeadsInputs& x, std::int64_t head,
                                                    RotaryLayout layout) {
    const std::int64_t half = x.q.dim / 2, group = x.q.heads / x.k.heads;
    const std::size_t pairs = x.query_index.size();
    std::vector<std::vector<double>> parts(static_cast<std::size_t>(half + 1), std::vector<double>(pairs));
    for (std::size_t p = 0; p < pairs; ++p) {
        const float *const q = x.q.row(head, x.query_index[p]), *const k = x.k.row(head / group, x.key_index[p]);
        for (std::int64_t f = 0; f < half; ++f) {
            const bool is_half = layout == RotaryLayout::half;
            const std::int64_t a = is_half ? f : 2 * f, b = is_half ? f + half : 2 * f + 1;
            const double part = double{q[a]} * double{k[a]} + double{q[b]} * double{k[b]};
            parts[static_cast<std::size_t>(f)][p] = part;
            parts.back()[p] += part;
        }
    }
    return parts;
}

inline double mean_of(const std::vector<double>& x) {
    double sum = 0;
    for (const double e : x) sum += e;
    return sum / static_cast<double>(x.size());
}

}  // namespace detail

ATTENTA_INLINE void positional_heads(const PositionalHeadsInputs& x, const PositionalHeadsOutputs& out,
                                     const PositionalHeadsOptions& options, Context& context) {
    detail::check_positional_heads(x, out, options);
    const std::int64_t half = x.q.dim / 2;
    std::vector<std::int64_t> distance(x.query_index.size());
    for (std::size_t p = 0; p < distance.size(); ++p)
        distance[p] = std::abs(x.k.tokens - x.q.tokens + x.query_index[p] - x.key_index[p]);
    const std::vector<double> distance_ranks = mean_ranks(std::span<const std::int64_t>(distance));
    context.executor().parallel_for(x.q.heads, [&](std::int64_t h, int) {
        const auto parts = detail::score_parts(x, h, options.layout);
        const std::vector<double> score_ranks = mean_ranks(std::span<const double>(parts.back()));
        double weights = 0, weighted = 0;
        for (std::int64_t f = 0; f < half; ++f) {
            const std::vector<double>& part = parts[static_cast<std::size_t>(f)];
            const std::vector<double> ranks = mean_ranks(std::span<const double>(part));
            const double with_score = pearson(ranks, score_ranks);
            if (out.contribution) out.contribution[h * half + f] = static_cast<float>(detail::mean_of(part));
            if (out.distance_correlation)
                out.distance_correlation[h * half + f] = static_cast<float>(pearson(ranks, distance_ranks));
            if (out.score_correlation) out.score_correlation[h * half + f] = static_cast<float>(with_score);
            weights += std::max(with_score, 0.0);
            weighted += std::max(with_score, 0.0) * static_cast<double>(f);
        }
        if (out.frequency_center)
            out.frequency_center[h] = static_cast<float>(weighted / std::max(weights, 1e-12) /
                                                         static_cast<double>(std::max<std::int64_t>(half - 1, 1)));
    });
}

}  // namespace analysis

ATTENTA_END
