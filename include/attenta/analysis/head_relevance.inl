#pragma once

#include <attenta/analysis/common/weight_sums.hpp>
#include <attenta/analysis/head_relevance.hpp>
#include <attenta/core/run_tasks.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

/// The number of words of each concept.
inline std::vector<std::int64_t> check_head_relevance(const HeadRelevanceInputs& x, const HeadRelevanceOutputs& out,
                                                      const HeadRelevanceOptions& options) {
    Check check("head_relevance", x);
    check.range("concepts", options.concepts, 1, std::ssize(x.word_concept));
    std::vector<std::int64_t> words(static_cast<std::size_t>(options.concepts));
    for (const std::int64_t c : x.word_concept) {
        check.range("word_concept", c, -1, options.concepts - 1);
        if (c >= 0) ++words[static_cast<std::size_t>(c)];
    }
    if (const auto none = std::find(words.begin(), words.end(), 0); none != words.end())
        check.refuse("word_concept has no word of concept " + std::to_string(none - words.begin()) +
                     ", needs one of every concept");
    check.finite_numbers("attn", x.attn);
    check.outputs(out, x, options);
    return words;
}

/// The concept of the largest strength in one sample of one head, whose words have these weights.
inline std::int64_t strongest_concept(std::span<const std::int64_t> word_concept, const float* weights,
                                      const std::vector<std::int64_t>& words, std::vector<double>& strength) {
    std::fill(strength.begin(), strength.end(), 0.0);
    for (std::size_t w = 0; w < word_concept.size(); ++w)
        if (word_concept[w] >= 0) strength[static_cast<std::size_t>(word_concept[w])] += double{weights[w]};
    for (std::size_t c = 0; c < strength.size(); ++c) strength[c] /= static_cast<double>(words[c]);
    return std::max_element(strength.begin(), strength.end()) - strength.begin();
}

/// count [H, C]; every sample of a head is one vote.
inline std::vector<std::int64_t> count_votes(const HeadRelevanceInputs& x, const std::vector<std::int64_t>& words,
                                             Context& context) {
    const std::int64_t samples = x.attn.size(0), heads = x.attn.size(1), all_words = x.attn.size(3),
                       concepts = std::ssize(words);
    std::vector<float> mean(static_cast<std::size_t>(samples * heads * all_words));
    column_sums(x.attn.matrices(), 1.f / static_cast<float>(x.attn.size(2)), mean.data(), context);
    std::vector<std::int64_t> count(static_cast<std::size_t>(heads * concepts));
    run_tasks(context.executor(), heads, [&](std::int64_t h, int) {
        std::vector<double> strength(words.size());
        for (std::int64_t n = 0; n < samples; ++n) {
            const float* const weights = mean.data() + (n * heads + h) * all_words;
            const std::int64_t best = strongest_concept(x.word_concept, weights, words, strength);
            ++count[static_cast<std::size_t>(h * concepts + best)];
        }
    });
    return count;
}

}  // namespace detail

ATTENTA_INLINE void head_relevance(const HeadRelevanceInputs& x, const HeadRelevanceOutputs& out,
                                   const HeadRelevanceOptions& options, Context& context) {
    const std::vector<std::int64_t> words = detail::check_head_relevance(x, out, options);
    const std::int64_t heads = x.attn.size(1), concepts = options.concepts;
    const std::vector<std::int64_t> count = detail::count_votes(x, words, context);
    if (out.count) std::copy(count.begin(), count.end(), out.count);
    if (!out.relevance) return;
    // All heads have equally many votes, which cancel: shares are counts.
    for (std::int64_t c = 0; c < concepts; ++c) {
        const auto votes = [&](std::int64_t h) {
            return static_cast<double>(count[static_cast<std::size_t>(h * concepts + c)]);
        };
        double all = 0;
        for (std::int64_t h = 0; h < heads; ++h) all += votes(h);
        for (std::int64_t h = 0; h < heads; ++h)
            out.relevance[c * heads + h] =
                static_cast<float>(all == 0 ? 0 : static_cast<double>(heads) * votes(h) / all);
    }
}

}  // namespace analysis

ATTENTA_END
