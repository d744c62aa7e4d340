#pragma once

#include <attenta/engine/common/checks.hpp>
#include <attenta/softmax/weights.hpp>
#include <attenta/sparse/content/head_gating.hpp>
#include <attenta/sparse/further_outputs.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Keys that are not near, of queries that read all keys.
struct FarKeys {
    const std::int64_t* long_context;  ///< [heads, queries]
    std::int64_t queries, group, sink, window;

    Spans spans(const QueryRow& r) const {
        const bool reads = long_context[r.head * queries + r.index] != 0;
        return {reads ? Interval{sink, r.position - window + 1} : Interval{}, {}};
    }
    /// The rows between two may be of any head of the group.
    Interval hull(const QueryRow& a, const QueryRow& b) const {
        const std::int64_t first = a.head / group * group;
        for (std::int64_t h = first; h < first + group; ++h) {
            const std::int64_t* const row = long_context + h * queries;
            if (std::any_of(row + a.index, row + b.index + 1, [](std::int64_t x) { return x != 0; }))
                return {sink, b.position - window + 1};
        }
        return {};
    }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        return intersect(keys.range(), hull(a, b)).empty() ? Cover::none : Cover::some;
    }
};

inline void check_head_gating(const HeadGatingInputs& x, const HeadGatingOptions& options) {
    require_at_least("head_gating", "sink", options.sink, 0);
    require_at_least("head_gating", "window", options.window, 1);
    if (!(options.threshold > 0 && options.threshold < 1))
        fail("head_gating",
             "threshold is " + std::to_string(options.threshold) + ", needs a number between 0 and 1, neither of them");
    if (x.cov.tokens != x.q.dim)
        fail("head_gating", "cov is " + checks::shape(x.cov.heads, x.cov.tokens, x.cov.dim) + ", needs " +
                                checks::shape(x.kv.heads, x.q.dim, x.q.dim));
}

/// log E exp(score) of one far key, [Hq, Tq]. Products with the rows of cov and the mean are scores of keys.
inline std::vector<double> score_moments(const SparseCall& call, const HeadGatingInputs& x) {
    const std::int64_t dim = call.q.dim, heads = call.kv.heads, queries = call.q.tokens;
    std::vector<float> rows(static_cast<std::size_t>(heads * (dim + 1) * dim)),
        products(static_cast<std::size_t>(call.q.heads * queries * (dim + 1)));
    std::vector<double> largest(static_cast<std::size_t>(heads));
    const Heads<float> keys = hnd(rows.data(), heads, dim + 1, dim);
    for (std::int64_t h = 0; h < heads; ++h) {
        for (std::int64_t c = 0; c < dim; ++c) {
            std::copy_n(x.cov.row(h, c), dim, keys.row(h, c));
            for (std::int64_t e = 0; e < dim; ++e)
                largest[static_cast<std::size_t>(h)] =
                    std::max(largest[static_cast<std::size_t>(h)], std::abs(double{x.cov.row(h, c)[e]}));
        }
        std::copy_n(x.mean.row(h, 0), dim, keys.row(h, dim));
    }
    softmax_scores(call.q, KvView::of(keys, keys), products.data(), ScoreStage::scaled, {.scale = call.scale},
                   *call.context);

    std::vector<double> result;
    for (std::int64_t h = 0; h < call.q.heads; ++h)
        for (std::int64_t i = 0; i < queries; ++i) {
            const float *const q = call.q.row(h, i), *const product = products.data() + (h * queries + i) * (dim + 1);
            double variance = 0, length = 0;
            for (std::int64_t c = 0; c < dim; ++c) {
                variance += double{q[c]} * double{product[c]};
                length += std::abs(double{q[c]});
            }
            const double scale{call.scale};
            const double most = scale * length * length * largest[static_cast<std::size_t>(h / call.group())];
            if (variance < -1e-6 * most)
                fail("head_gating", "cov gives a variance of " + std::to_string(variance * scale) + " at " +
                                        checks::shape(h, i, 0) + ", needs to be positive semidefinite");
            result.push_back(double{product[dim]} + std::max(variance, 0.0) * scale / 2);
        }
    return result;
}

}  // namespace detail

ATTENTA_INLINE void head_gating(const HeadGatingInputs& x, const HeadGatingOutputs& out,
                                const HeadGatingOptions& options, Context& context) {
    const auto call = detail::check_sparse("head_gating", x, out, options, Positions::last, context);
    detail::check_head_gating(x, options);
    if (out.long_context || out.local_share) {
        detail::FurtherOutputs further(call, InputList(x));
        further.add("long_context", hnd(out.long_context, x.q.heads, x.q.tokens, 1));
        further.add("local_share", hnd(out.local_share, x.q.heads, x.q.tokens, 1));
    }
    const std::vector<double> moments = detail::score_moments(call, x);
    detail::SparseParts parts(call, 2);
    attention::Request near = parts.request();
    near.masks = {Causal{} && (Window{options.window - 1, 0} || Global{options.sink})};
    parts.add(near);

    const std::int64_t rows = x.q.heads * x.q.tokens;
    const double threshold{options.threshold}, least = std::log(threshold) - std::log1p(-threshold);
    std::vector<std::int64_t> long_context(static_cast<std::size_t>(rows));
    for (std::int64_t n = 0; n < rows; ++n) {
        const std::int64_t behind = call.first_position() + n % x.q.tokens + 1 - options.window;
        const std::int64_t others = std::max<std::int64_t>(behind - options.sink, 0);
        const RowStatistics& s = parts.statistics(0)[n];
        const double sum = double{s.max} + std::log(double{s.sum});
        const double far = others > 0 ? std::log(static_cast<double>(others)) + moments[static_cast<std::size_t>(n)]
                                      : -std::numeric_limits<double>::infinity();
        // In logarithms: far overflows otherwise.
        long_context[static_cast<std::size_t>(n)] = sum - far >= least ? 0 : 1;
        if (out.local_share) out.local_share[n] = static_cast<float>(1 / (1 + std::exp(far - sum)));
    }
    if (out.long_context) std::copy(long_context.begin(), long_context.end(), out.long_context);
    attention::Request others = parts.request();
    others.masks = {detail::FarKeys{long_context.data(), x.q.tokens, call.group(), options.sink, options.window}};
    parts.add(others);
    parts.merge();
}

ATTENTA_END
