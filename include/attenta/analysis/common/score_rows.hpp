// Scores of queries, row by row, for read-outs that need more of a row than sums of its weights.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>
#include <attenta/softmax/weights.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

/// f(head, query, scores, count) for every query of every head, in any order on any thread: its scaled scores with the keys that it
/// sees, [0, count). A few queries' are in memory at a time; they may be overwritten. Causal queries are no more than the keys.
template <class F>
void for_score_rows(Heads<const float> q, Heads<const float> k, float scale, bool causal, Context& context, F&& f) {
    constexpr std::int64_t at_a_time = std::int64_t{1} << 20;
    const std::int64_t keys = k.tokens, step = std::clamp<std::int64_t>(at_a_time / (q.heads * keys), 1, q.tokens);
    std::vector<float> scores(static_cast<std::size_t>(q.heads * step * keys));
    SoftmaxOptions options;
    options.scale = scale;
    for (std::int64_t first = 0; first < q.tokens; first += step) {
        const std::int64_t count = std::min(step, q.tokens - first);
        softmax_scores(q.slice(first, count), KvView::of(k, k), scores.data(), ScoreStage::scaled, options, context);
        context.executor().parallel_for(q.heads * count, [&](std::int64_t task, int) {
            const std::int64_t head = task / count, query = first + task % count;
            f(head, query, scores.data() + task * keys, causal ? keys - q.tokens + query + 1 : keys);
        });
    }
}

}  // namespace analysis

ATTENTA_END
