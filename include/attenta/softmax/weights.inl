#pragma once

#include <attenta/softmax/softmax.inl>
#include <attenta/softmax/weights.hpp>

ATTENTA_BEGIN

ATTENTA_INLINE void softmax_statistics(Heads<const float> q, const KvView& kv, float* lse,
                                       const SoftmaxOptions& options, Context& context) {
    detail::SoftmaxRequest r("softmax_statistics", q, {}, kv, options);
    r.request().values = false;
    const tile::Plan plan(r.request(), context);
    if (!lse && q.tokens > 0)
        fail("softmax_statistics",
             "lse is null, needs [" + std::to_string(q.heads) + ", " + std::to_string(q.tokens) + "]");
    tile::check_tensors("softmax_statistics", q, kv, nullptr, lse);
    plan.run(q, kv, {}, lse);
}

ATTENTA_INLINE void softmax_weights(Heads<const float> q, const KvView& kv, const float* lse,
                                    const ScoreEdits& weight_edits, Heads<float> o, const SoftmaxOptions& options,
                                    Context& context) {
    detail::SoftmaxRequest r("softmax_weights", q, {}, kv, options);
    if (!lse && q.tokens > 0)
        fail("softmax_weights",
             "lse is null, needs [" + std::to_string(q.heads) + ", " + std::to_string(q.tokens) + "]");
    r.request().values = o.data != nullptr;
    r.request().known_lse = lse;
    r.request().weight_edits = weight_edits;
    const tile::Plan plan(r.request(), context);
    tile::check_tensors("softmax_weights", q, kv, o.data ? &o : nullptr, nullptr);
    plan.run(q, kv, o, nullptr, lse);
}

ATTENTA_END
