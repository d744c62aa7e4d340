#pragma once

#include <attenta/analysis/common/documents.hpp>
#include <attenta/analysis/common/ranking.hpp>
#include <attenta/analysis/common/weight_sums.hpp>
#include <attenta/analysis/document_order.hpp>

#include <algorithm>
#include <numeric>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_sorted_documents(const Check& check, const DocumentOrderInputs& x,
                                   const DocumentOrderOptions& options) {
    check.needs("attn", bool{x.attn}, "sort");
    check.needs("doc_start", !x.doc_start.empty(), "sort");
    check.needs("doc_end", !x.doc_end.empty(), "sort");
    if (options.layers) check.refuse("layers is given, needs method rank: sort takes all layers");
    std::vector<KeyRange> documents;
    document_ranges(check, x.doc_start, x.doc_end, x.attn.size(2), documents);
    check.finite_numbers("attn", x.attn);
}

inline void check_ranked_positions(const Check& check, const DocumentOrderInputs& x,
                                   const DocumentOrderOptions& options) {
    check.needs("position_attn", bool{x.position_attn}, "rank");
    check.needs("relevance", !x.relevance.empty(), "rank");
    if (options.layers && options.layers->empty()) check.refuse("layers is empty, needs a layer");
    if (options.layers) check.indices("layers", *options.layers, x.position_attn.size(1));
    check.finite_numbers("position_attn", x.position_attn);
    check.finite_numbers("relevance", x.relevance.data(), std::ssize(x.relevance));
}

/// The weight of each document, a mean over layers and heads. These are averaged first: the documents then read one row.
inline std::vector<double> attention_of_documents(const DocumentOrderInputs& x, Context& context) {
    const std::int64_t rows = x.attn.count(0, 2), keys = x.attn.size(2);
    std::vector<float> mean(static_cast<std::size_t>(keys));
    column_sums({x.attn.data, 1, rows, keys}, 1.f / static_cast<float>(rows), mean.data(), context);
    std::vector<double> score;
    for (std::size_t d = 0; d < x.doc_start.size(); ++d)
        score.push_back(double{sum_of_weights()(mean.data() + x.doc_start[d], x.doc_end[d] - x.doc_start[d])});
    return score;
}

/// What each position received, a mean over probes, these layers and heads.
inline std::vector<double> attention_of_positions(const DenseTensor<const float, 4>& attn,
                                                  const std::vector<std::int64_t>& layers) {
    const std::int64_t heads = attn.size(2), positions = attn.size(3);
    std::vector<double> sum(static_cast<std::size_t>(positions));
    for (std::int64_t n = 0; n < attn.size(0); ++n)
        for (const std::int64_t l : layers)
            for (std::int64_t h = 0; h < heads; ++h) {
                const float* const row = attn.data + ((n * attn.size(1) + l) * heads + h) * positions;
                std::transform(row, row + positions, sum.begin(), sum.begin(),
                               [](float a, double so_far) { return so_far + double{a}; });
            }
    for (double& s : sum) s /= static_cast<double>(attn.size(0) * std::ssize(layers) * heads);
    return sum;
}

inline std::vector<std::int64_t> layers_of_profile(const DocumentOrderInputs& x, const DocumentOrderOptions& options) {
    if (options.layers) return *options.layers;
    std::vector<std::int64_t> all(static_cast<std::size_t>(x.position_attn.size(1)));
    std::iota(all.begin(), all.end(), 0);
    return all;
}

}  // namespace detail

ATTENTA_INLINE void document_order(const DocumentOrderInputs& x, const DocumentOrderOutputs& out,
                                   const DocumentOrderOptions& options, Context& context) {
    Check check("document_order", x);
    const bool sort = options.method == DocumentOrder::sort;
    sort ? detail::check_sorted_documents(check, x, options) : detail::check_ranked_positions(check, x, options);
    check.outputs(out, x, options);

    const std::vector<double> score =
        sort ? detail::attention_of_documents(x, context)
             : detail::attention_of_positions(x.position_attn, detail::layers_of_profile(x, options));
    if (out.score)
        std::transform(score.begin(), score.end(), out.score, [](double s) { return static_cast<float>(s); });
    if (!out.order) return;
    const std::vector<std::int64_t> by_score = descending(std::span(score));
    if (sort) {
        std::copy(by_score.begin(), by_score.end(), out.order);
        if (options.best_last) std::reverse(out.order, out.order + score.size());
    } else {
        const std::vector<std::int64_t> by_relevance = descending(x.relevance);
        for (std::size_t n = 0; n < score.size(); ++n) out.order[by_score[n]] = by_relevance[n];
    }
}

}  // namespace analysis

ATTENTA_END
