#pragma once

#include <attenta/softmax/softmax.inl>
#include <attenta/softmax/weights.hpp>

ATTENTA_BEGIN

namespace detail {

inline void require_statistics(const char* function, const RowStatistics* statistics, Heads<const float> q) {
    if (!statistics && q.tokens > 0)
        fail(function, "statistics is null, needs [" + std::to_string(q.heads) + ", " + std::to_string(q.tokens) + "]");
}

}  // namespace detail

ATTENTA_INLINE void softmax_statistics(Heads<const float> q, const KvView& kv, RowStatistics* statistics,
                                       const SoftmaxOptions& options, Context& context) {
    detail::SoftmaxRequest r("softmax_statistics", q, {}, kv, options);
    r.request().values = false;
    r.request().two_passes = true;
    const tile::Plan plan(r.request(), context);
    detail::require_statistics("softmax_statistics", statistics, q);
    tile::check_tensors("softmax_statistics", q, kv, nullptr, nullptr);
    plan.run(q, kv, {}, nullptr, {.found = statistics});
}

ATTENTA_INLINE void softmax_weights(Heads<const float> q, const KvView& kv, const RowStatistics* statistics,
                                    const ScoreEdits& weight_edits, Heads<float> o, const SoftmaxOptions& options,
                                    Context& context) {
    detail::SoftmaxRequest r("softmax_weights", q, {}, kv, options);
    detail::require_statistics("softmax_weights", statistics, q);
    r.request().values = o.data != nullptr;
    r.request().two_passes = true;
    r.request().weight_edits = weight_edits;
    const tile::Plan plan(r.request(), context);
    tile::check_tensors("softmax_weights", q, kv, o.data ? &o : nullptr, nullptr);
    plan.run(q, kv, o, nullptr, {.known = statistics});
}

ATTENTA_END
