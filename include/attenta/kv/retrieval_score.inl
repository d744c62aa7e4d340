#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/kv/eviction/window_scores.hpp>
#include <attenta/kv/retrieval_score.hpp>
#include <attenta/softmax/weights.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_retrieval_score(const RetrievalScoreInputs& x, const RetrievalScoreOutputs& out,
                                  const RetrievalScoreOptions& options) {
    const char* const f = "retrieval_score";
    const InputList inputs(x);
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    if (options.scale && !is_finite(*options.scale))
        fail(f, "scale is " + std::to_string(*options.scale) + ", needs a finite number");
    const std::string all = std::to_string(x.q.tokens);
    if (options.prompt < 1 || options.prompt > x.q.tokens)
        fail(f, "prompt is " + std::to_string(options.prompt) + ", needs 1 to the " + all + " tokens of q");
    const auto [first, end] = options.needle;
    if (first < 0 || end <= first || end > x.q.tokens)
        fail(f, "needle is [" + std::to_string(first) + ", " + std::to_string(end) +
                    "], needs 0 <= first < end <= the " + all + " tokens of q");
    eviction::require_at_least(f, "topk", options.topk, 1);
    if (!out.score) fail(f, "score is null, needs [" + std::to_string(x.q.heads) + "]");
}

/// Whether one of the `topk` highest of scores, later ones first among equals, stands in [first, end) and holds `token`.
inline bool copies(std::span<const float> scores, std::span<const std::int64_t> tokens, std::int64_t token,
                   const RetrievalScoreOptions& options) {
    const auto first = static_cast<std::size_t>(options.needle[0]),
               end = std::min(static_cast<std::size_t>(options.needle[1]), scores.size());
    std::size_t best = end;
    for (std::size_t j = first; j < end; ++j)
        if (tokens[j] == token && (best == end || scores[j] >= scores[best])) best = j;
    if (best >= end) return false;
    std::int64_t stronger = 0;
    for (std::size_t j = 0; j < best; ++j) stronger += scores[j] <= scores[best] ? 0 : 1;
    for (std::size_t j = best + 1; j < scores.size(); ++j) stronger += scores[j] < scores[best] ? 0 : 1;
    return stronger < options.topk;
}

}  // namespace detail

ATTENTA_INLINE void retrieval_score(const RetrievalScoreInputs& x, const RetrievalScoreOutputs& out,
                                    const RetrievalScoreOptions& options, Context& context) {
    detail::check_retrieval_score(x, out, options);
    const std::int64_t heads = x.q.heads, keys = x.k.tokens, first = options.prompt - 1, end = x.q.tokens - 1;
    const auto needle = x.tokens.subspan(static_cast<std::size_t>(options.needle[0]),
                                         static_cast<std::size_t>(options.needle[1] - options.needle[0]));
    const KvView kv = KvView::of(x.k, x.k);
    SoftmaxOptions softmax;
    softmax.scale = options.scale;
    constexpr std::int64_t chunk = std::int64_t{1} << 20;  // scores at a time
    const std::int64_t step =
        std::clamp<std::int64_t>(chunk / (heads * keys), 1, std::max<std::int64_t>(end - first, 1));
    std::vector<float> scores(static_cast<std::size_t>(heads * step * keys));
    std::vector<std::int64_t> steps(static_cast<std::size_t>(heads));
    std::vector<std::set<std::int64_t>> copied(steps.size());
    for (std::int64_t i = first; i < end; i += step) {
        const std::int64_t n = std::min(step, end - i);
        softmax_scores(x.q.slice(i, n), kv, scores.data(), ScoreStage::scaled, softmax, context);
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t t = 0; t < n; ++t) {
                const std::int64_t token = x.tokens[static_cast<std::size_t>(i + t + 1)];
                const std::span seen(scores.data() + (h * n + t) * keys, static_cast<std::size_t>(i + t + 1));
                if (!detail::copies(seen, x.tokens, token, options)) continue;
                ++steps[static_cast<std::size_t>(h)];
                copied[static_cast<std::size_t>(h)].insert(token);
            }
    }
    const auto distinct = std::set<std::int64_t>(needle.begin(), needle.end()).size();
    for (std::size_t h = 0; h < steps.size(); ++h) {
        out.score[h] = static_cast<float>(static_cast<double>(steps[h]) / static_cast<double>(needle.size()));
        if (out.score_set)
            out.score_set[h] =
                static_cast<float>(static_cast<double>(copied[h].size()) / static_cast<double>(distinct));
    }
}

ATTENTA_END
