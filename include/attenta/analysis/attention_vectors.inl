#pragma once

#include <attenta/analysis/attention_vectors.hpp>
#include <attenta/analysis/common/ranking.hpp>
#include <attenta/analysis/common/row_norms.hpp>
#include <attenta/engine/dense/dense.hpp>

#include <algorithm>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_attention_vectors(const AttentionVectorsInputs& x, const AttentionVectorsOutputs& out,
                                    const AttentionVectorsOptions& options) {
    Check check("attention_vectors", x);
    check.range("classes", options.classes, 1, x.support.size(0));
    check.at_least("top", options.top, 1);
    std::vector<bool> has_example(static_cast<std::size_t>(options.classes));
    for (const std::int64_t label : x.labels) {
        check.range("labels", label, 0, options.classes - 1);
        has_example[static_cast<std::size_t>(label)] = true;
    }
    if (const auto none = std::find(has_example.begin(), has_example.end(), false); none != has_example.end())
        check.refuse("labels have no example of class " + std::to_string(none - has_example.begin()) +
                     ", needs one of every class");
    check.finite_numbers("support", x.support);
    check.finite_numbers("query", x.query);
    check.outputs(out, x, options);
}

/// The examples [n, heads, dim] as a matrix per head.
inline Matrices<const float> by_head(const DenseTensor<const float, 4>& x) {
    const std::int64_t heads = x.count(1, 3), dim = x.size(3);
    return {x.data, heads, x.size(0), dim, heads * dim, dim};
}

/// Means [heads, classes, dim] of the examples of each class.
inline std::vector<float> class_means(const AttentionVectorsInputs& x, std::int64_t classes, Context& context) {
    const std::int64_t examples = x.support.size(0), heads = x.support.count(1, 3), dim = x.support.size(3);
    std::vector<std::int64_t> count(static_cast<std::size_t>(classes));
    for (const std::int64_t label : x.labels) ++count[static_cast<std::size_t>(label)];
    std::vector<float> share(static_cast<std::size_t>(classes * examples));
    for (std::int64_t n = 0; n < examples; ++n) {
        const std::int64_t label = x.labels[static_cast<std::size_t>(n)];
        share[static_cast<std::size_t>(label * examples + n)] =
            1.f / static_cast<float>(count[static_cast<std::size_t>(label)]);
    }
    std::vector<float> means(static_cast<std::size_t>(heads * classes * dim));
    dense::multiply({share.data(), 1, classes, examples}, by_head(x.support), {means.data(), heads, classes, dim}, {},
                    context);
    return means;
}

/// The class of the highest cosine [n, heads].
inline std::vector<std::int64_t> guesses(const DenseTensor<const float, 4>& x, const std::vector<float>& means,
                                         std::int64_t classes, Context& context) {
    const std::int64_t count = x.size(0), heads = x.count(1, 3), dim = x.size(3);
    std::vector<float> products(static_cast<std::size_t>(heads * count * classes));
    dense::multiply(by_head(x), {means.data(), heads, classes, dim}, {products.data(), heads, count, classes},
                    {.b_transposed = true}, context);
    const std::vector<double> of_x = row_norms(x.data, count * heads, dim, context),
                              of_means = row_norms(means.data(), heads * classes, dim, context);
    std::vector<std::int64_t> guess(static_cast<std::size_t>(count * heads));
    for_pieces(context, count * heads, 256, [&](std::int64_t begin, std::int64_t end) {
        std::vector<double> cosine(static_cast<std::size_t>(classes));
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t n = i / heads, h = i % heads;
            for (std::int64_t c = 0; c < classes; ++c)
                cosine[static_cast<std::size_t>(c)] =
                    double{products[static_cast<std::size_t>((h * count + n) * classes + c)]} /
                    std::max(of_x[static_cast<std::size_t>(i)] * of_means[static_cast<std::size_t>(h * classes + c)],
                             1e-12);
            guess[static_cast<std::size_t>(i)] = std::max_element(cosine.begin(), cosine.end()) - cosine.begin();
        }
    });
    return guess;
}

}  // namespace detail

ATTENTA_INLINE void attention_vectors(const AttentionVectorsInputs& x, const AttentionVectorsOutputs& out,
                                      const AttentionVectorsOptions& options, Context& context) {
    detail::check_attention_vectors(x, out, options);
    const std::int64_t examples = x.support.size(0), heads = x.support.count(1, 3), classes = options.classes;
    const std::vector<float> means = detail::class_means(x, classes, context);
    std::vector<float> accuracy(static_cast<std::size_t>(heads));
    const auto known = detail::guesses(x.support, means, classes, context);
    for (std::int64_t h = 0; h < heads; ++h) {
        std::int64_t right = 0;
        for (std::int64_t n = 0; n < examples; ++n)
            right += known[static_cast<std::size_t>(n * heads + h)] == x.labels[static_cast<std::size_t>(n)] ? 1 : 0;
        accuracy[static_cast<std::size_t>(h)] =
            static_cast<float>(static_cast<double>(right) / static_cast<double>(examples));
    }
    std::vector<std::int64_t> best = descending(std::span<const float>(accuracy));
    best.resize(static_cast<std::size_t>(std::min(options.top, heads)));
    if (out.accuracy) std::copy(accuracy.begin(), accuracy.end(), out.accuracy);
    if (out.heads) std::copy(best.begin(), best.end(), out.heads);
    const auto guess = detail::guesses(x.query, means, classes, context);
    std::vector<std::int64_t> votes(static_cast<std::size_t>(classes));
    for (std::int64_t m = 0; m < x.query.size(0); ++m) {
        std::fill(votes.begin(), votes.end(), 0);
        for (const std::int64_t h : best)
            ++votes[static_cast<std::size_t>(guess[static_cast<std::size_t>(m * heads + h)])];
        if (out.votes) std::copy(votes.begin(), votes.end(), out.votes + m * classes);
        if (out.predicted) out.predicted[m] = std::max_element(votes.begin(), votes.end()) - votes.begin();
    }
}

}  // namespace analysis

ATTENTA_END
