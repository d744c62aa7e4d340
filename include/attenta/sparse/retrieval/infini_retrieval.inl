#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/sparse/retrieval/exact_weights.hpp>
#include <attenta/sparse/retrieval/infini_retrieval.hpp>
#include <attenta/sparse/retrieval/kernels.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// The rows of the question on the keys of the chunk, checked.
inline attention::Request question_rows(const InfiniRetrievalInputs& x, const InfiniRetrievalOptions& options) {
    const char* const f = "infini_retrieval";
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    const auto [a, b] = options.context;
    const auto [c, d] = options.question;
    check_scale(f, options.scale);
    if (!is_finite(options.question_power))
        fail(f, "question_power is " + std::to_string(options.question_power) + ", needs a finite number");
    if (x.kv.sequences != 1) fail(f, "kv has " + text(x.kv.sequences) + " sequences, needs one");
    if (!x.q.data) fail(f, "q is null, needs a tensor");
    if (x.q.tokens != x.kv.length(0))
        fail(f, "q has " + text(x.q.tokens) + " tokens, needs the " + text(x.kv.length(0)) + " of k");
    if (a < 0 || a >= b || b > c || c >= d || d > x.q.tokens)
        fail(f, "context is [" + text(a) + ", " + text(b) + "), question [" + text(c) + ", " + text(d) +
                    "), needs both in this order in the " + text(x.q.tokens) + " tokens of the chunk");
    require_at_least(f, "phrase", options.phrase, 1);
    require_at_least(f, "top_k", options.top_k, 1);
    if (std::ssize(x.sentence) != b - a || !x.sentence.data())
        fail(f, "sentence has " + text(std::ssize(x.sentence)) + " elements, needs " + text(b - a));
    attention::Request r;
    r.function = f;
    r.q = x.q.slice(c, d - c);
    r.kv = x.kv;
    r.scale = options.scale.value_or(1.f / std::sqrt(static_cast<float>(x.q.dim)));
    r.q_offset = c;
    r.masks = {Causal{}};
    attention::check(r);
    attention::check_tensors(f, x.q, x.kv, nullptr, nullptr);
    if (options.check_data) {
        check_numbers(f, "q", x.q, false);
        check_rows(f, "k", x.kv, false);
    }
    return r;
}

/// w_i, from the statistics of rows over all keys and over those of the question.
inline std::vector<float> question_weights(const attention::Request& rows, const ExactWeights& all, float power,
                                           Context& context) {
    std::vector<float> weights(static_cast<std::size_t>(rows.q.tokens), 1.f);
    if (power == 0) return weights;
    attention::Request of_question = rows;
    of_question.masks.push_back(KeysFrom{*rows.q_offset});
    const ExactWeights own(of_question, context);
    for (std::int64_t i = 0; i < rows.q.tokens; ++i) {
        double mass = 0;
        for (std::int64_t h = 0; h < rows.q.heads; ++h) {
            const RowStatistics &part = own.of(h, i), &whole = all.of(h, i);
            mass += double{part.sum} * std::exp(double{part.max} - double{whole.max}) / double{whole.sum};
        }
        weights[static_cast<std::size_t>(i)] = static_cast<float>(std::pow(mass, double{power}));
    }
    return weights;
}

}  // namespace detail

ATTENTA_INLINE void infini_retrieval(const InfiniRetrievalInputs& x, const InfiniRetrievalOutputs& out,
                                     const InfiniRetrievalOptions& options, Context& context) {
    const attention::Request rows = detail::question_rows(x, options);
    const std::int64_t first = options.context[0], n = options.context[1] - first, keys = x.q.tokens;
    const detail::ExactWeights weights(rows, context);
    const std::vector<float> factor = detail::question_weights(rows, weights, options.question_power, context);
    std::vector<float> sums(static_cast<std::size_t>(x.q.heads * keys));
    weights.run({edit(edits::FactoredSums{sums.data(), keys, factor.data()})});

    std::vector<double> before(static_cast<std::size_t>(n) + 1), score(static_cast<std::size_t>(n));
    for (std::int64_t j = 0; j < n; ++j) {
        double sum = before[static_cast<std::size_t>(j)];
        for (std::int64_t h = 0; h < x.q.heads; ++h)
            sum += double{sums[static_cast<std::size_t>(h * keys + first + j)]};
        before[static_cast<std::size_t>(j) + 1] = sum;
    }
    const std::int64_t left = std::min(options.phrase / 2, n), right = std::min((options.phrase - 1) / 2 + 1, n);
    for (std::int64_t j = 0; j < n; ++j)
        score[static_cast<std::size_t>(j)] = before[static_cast<std::size_t>(std::min(n, j + right))] -
                                             before[static_cast<std::size_t>(std::max<std::int64_t>(0, j - left))];
    const std::vector<std::int64_t> chosen = detail::top_indices(score, options.top_k);
    std::vector<std::int64_t> sentences;
    for (const std::int64_t j : chosen) sentences.push_back(x.sentence[static_cast<std::size_t>(j)]);
    std::sort(sentences.begin(), sentences.end());
    if (out.score)
        std::transform(score.begin(), score.end(), out.score, [](double s) { return static_cast<float>(s); });
    if (out.index) std::copy(chosen.begin(), chosen.end(), out.index);
    if (out.keep)
        std::transform(x.sentence.begin(), x.sentence.end(), out.keep, [&](std::int64_t s) {
            return std::binary_search(sentences.begin(), sentences.end(), s) ? std::int64_t{1} : std::int64_t{0};
        });
}

ATTENTA_END
