#pragma once

#include <attenta/analysis/common/weight_sums.hpp>
#include <attenta/analysis/sink_metrics.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_sink_metrics(const SinkMetricsInputs& x, const SinkMetricsOutputs& out,
                               const SinkMetricsOptions& options) {
    Check check("sink_metrics", x);
    const std::int64_t queries = x.attn.size(2), keys = x.attn.size(3);
    if (!(options.threshold > 0 && options.threshold < 1))
        check.refuse("threshold is " + std::to_string(options.threshold) + ", needs a number between 0 and 1");
    if (options.causal && queries > keys)
        check.refuse("attn has " + checks::text(queries) + " queries, causal needs at most the " + checks::text(keys) +
                     " keys");
    if (out.centralization && (queries != keys || keys < 2))
        check.refuse("centralization is wanted of " + checks::text(queries) + " queries and " + checks::text(keys) +
                     " keys, needs equally many, two or more");
    check.outputs(out, x, options);
}

/// Queries that key j is averaged over.
inline double queries_of_key(std::int64_t j, std::int64_t queries, std::int64_t keys,
                             const SinkMetricsOptions& options) {
    if (options.average == SinkAverage::all || !options.causal) return static_cast<double>(queries);
    return static_cast<double>(std::min(queries, keys - j));
}

/// Σ (largest − x) / (n − 1) of the mean weights x of n keys.
inline double centralization_of(const float* sums, std::int64_t n) {
    const double largest = double{*std::max_element(sums, sums + n)};
    double total = 0;
    for (std::int64_t j = 0; j < n; ++j) total += largest - double{sums[j]};
    return total / static_cast<double>(n) / static_cast<double>(n - 1);
}

}  // namespace detail

ATTENTA_INLINE void sink_metrics(const SinkMetricsInputs& x, const SinkMetricsOutputs& out,
                                 const SinkMetricsOptions& options, Context& context) {
    detail::check_sink_metrics(x, out, options);
    const std::int64_t heads = x.attn.count(0, 2), queries = x.attn.size(2), keys = x.attn.size(3);
    std::vector<float> sums(static_cast<std::size_t>(heads * keys));
    column_sums(x.attn.matrices(), 1.f, sums.data(), context);
    std::vector<std::int64_t> sinks_of_key(static_cast<std::size_t>(keys));
    for (std::int64_t h = 0; h < heads; ++h) {
        const float* const of_head = sums.data() + h * keys;
        if (out.centralization) out.centralization[h] = static_cast<float>(detail::centralization_of(of_head, keys));
        for (std::int64_t j = 0; j < keys; ++j) {
            const double received = double{of_head[j]} / detail::queries_of_key(j, queries, keys, options);
            const bool sink = received > options.threshold;
            sinks_of_key[static_cast<std::size_t>(j)] += sink ? 1 : 0;
            if (out.received) out.received[h * keys + j] = static_cast<float>(received);
            if (out.sinks) out.sinks[h * keys + j] = sink ? 1 : 0;
        }
    }
    if (out.sink_rate)
        std::transform(sinks_of_key.begin(), sinks_of_key.end(), out.sink_rate, [heads](std::int64_t n) {
            return static_cast<float>(static_cast<double>(n) / static_cast<double>(heads));
        });
}

}  // namespace analysis

ATTENTA_END
