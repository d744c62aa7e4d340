#pragma once

#include <attenta/analysis/common/weight_sums.hpp>
#include <attenta/analysis/diversity.hpp>
#include <attenta/analysis/kernels.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

/// Similarity [T] of the rows of one layer's mean attention a [T, Tk] with their mean m.
inline void row_similarities(const float* a, std::int64_t queries, std::int64_t keys, float least, const float* mean,
                             float* to) {
    std::vector<float> cut_mean(static_cast<std::size_t>(keys)), cut_row(cut_mean.size());
    cut_below()(mean, keys, least, cut_mean.data());
    const DotOfWeights dot = dot_of_weights();
    const double mean_norm = std::sqrt(double{dot(cut_mean.data(), cut_mean.data(), keys)});
    for (std::int64_t i = 0; i < queries; ++i) {
        cut_below()(a + i * keys, keys, least, cut_row.data());
        const double norm = std::sqrt(double{dot(cut_row.data(), cut_row.data(), keys)});
        to[i] =
            static_cast<float>(double{dot(cut_mean.data(), cut_row.data(), keys)} / std::max(mean_norm * norm, 1e-8));
    }
}

/// Mean cosine of any two rows of one head.
inline float pairwise_similarity(const float* a, std::int64_t queries, std::int64_t keys) {
    if (queries < 2) return 0;
    std::vector<float> sum(static_cast<std::size_t>(keys));
    std::int64_t rows = 0;
    for (std::int64_t i = 0; i < queries; ++i) {
        const float* const row = a + i * keys;
        const float norm = std::sqrt(dot_of_weights()(row, row, keys));
        if (norm == 0) continue;
        add_weighted_row()(row, keys, 1.f / norm, sum.data());
        ++rows;
    }
    const double all = double{dot_of_weights()(sum.data(), sum.data(), keys)};
    return static_cast<float>((all - static_cast<double>(rows)) / static_cast<double>(queries) /
                              static_cast<double>(queries - 1));
}

}  // namespace detail

ATTENTA_INLINE void diversity(const DiversityInputs& x, const DiversityOutputs& out, const DiversityOptions& options,
                              Context& context) {
    Check check("diversity", x);
    check.finite("threshold", options.threshold);
    if (options.threshold < 0) check.refuse("threshold is " + std::to_string(options.threshold) + ", needs 0 or more");
    check.outputs(out, x, options);
    const std::int64_t layers = x.attn.size(0), heads = x.attn.size(1), queries = x.attn.size(2), keys = x.attn.size(3);
    const auto least = static_cast<float>(options.threshold / static_cast<double>(keys));
    Arrays<float> arrays;
    float *const means = arrays.take(layers * queries * keys), *const of_keys = arrays.take(layers * keys);
    float* const rows = arrays.wanted_or_own(out.row_similarity, layers * queries);
    head_means(x.attn, means, context);
    column_sums({means, layers, queries, keys}, 1.f / static_cast<float>(queries), of_keys, context);
    context.executor().parallel_for(layers, [&](std::int64_t l, int) {
        detail::row_similarities(means + l * queries * keys, queries, keys, least, of_keys + l * keys,
                                 rows + l * queries);
    });
    if (out.pairwise)
        context.executor().parallel_for(layers * heads, [&](std::int64_t h, int) {
            out.pairwise[h] = detail::pairwise_similarity(x.attn.data + h * queries * keys, queries, keys);
        });
    double sum = 0;
    for (std::int64_t l = 0; l < layers; ++l) {
        double of_layer = 0;
        for (std::int64_t i = 0; i < queries; ++i)
            of_layer += double{rows[l * queries + i]} / static_cast<double>(queries);
        if (out.layer_similarity) out.layer_similarity[l] = static_cast<float>(of_layer);
        sum += of_layer;
    }
    if (out.similarity) out.similarity[0] = static_cast<float>(sum / (static_cast<double>(layers) + 1e-6));
}

}  // namespace analysis

ATTENTA_END
