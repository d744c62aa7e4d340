#pragma once

#include <attenta/softmax/softmax.inl>
#include <attenta/softmax/weights.hpp>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void require_statistics(const char* function, const RowStatistics* statistics, Heads<const float> q) {
    if (!statistics && q.tokens > 0)
        fail(function, "statistics is null, needs [" + std::to_string(q.heads) + ", " + std::to_string(q.tokens) + "]");
}

inline std::int64_t bytes_of_statistics(Heads<const float> q) {
    return saturating::multiply(saturating::multiply(q.heads, q.tokens), sizeof(RowStatistics));
}

/// An edit that only looks: scores [head, query, key], -inf where the mask hides the key.
struct KeptScores {
    float* scores;
    std::int64_t queries, keys;
    MaskSet mask;

    void operator()(const ScoreTile& t) const {
        for (std::int64_t r = 0; r < t.rows; ++r) {
            const QueryRow& row = t.row[r];
            float* const to = scores + (row.head * queries + row.index) * keys + t.keys.begin;
            std::copy_n(t.s + r * t.stride, t.keys.count, to);
            if (mask) hide(row, t.keys, to);
        }
    }

private:
    void hide(const QueryRow& row, const KeyBlock& block, float* s) const {
        std::uint64_t words[attention::rows_block / 64];
        std::fill(std::begin(words), std::end(words), ~std::uint64_t{0});
        mask.bits(row, block, words);
        for (std::int64_t i = 0; i < block.count; ++i)
            if ((words[i / 64] >> (i % 64) & 1) == 0) s[i] = -std::numeric_limits<float>::infinity();
    }
};

/// What a pass writes is there, apart from what it reads.
inline void check_written(const char* f, const char* name, const void* p, std::int64_t size, Heads<const float> q,
                          const KvView& kv, std::span<const NamedBytes> arrays) {
    const Bytes bytes = Bytes::of(p, size);
    checks::check_extent(f, name, bytes);
    checks::check_pointer(f, name, p, sizeof(float), bytes.size() > 0);
    checks::check_apart(f, name, bytes, checks::inputs(q, kv));
    checks::check_apart(f, name, bytes, arrays);
}

}  // namespace detail

ATTENTA_INLINE void softmax_statistics(Heads<const float> q, const KvView& kv, RowStatistics* statistics,
                                       const SoftmaxOptions& options, Context& context) {
    detail::SoftmaxRequest r("softmax_statistics", q, {}, kv, options);
    r.request().values = false;
    r.request().two_passes = true;
    const attention::Plan& plan = attention::plan(r.request(), context);
    detail::require_statistics("softmax_statistics", statistics, q);
    attention::check_tensors("softmax_statistics", q, kv, nullptr, nullptr);
    detail::check_written("softmax_statistics", "statistics", statistics, detail::bytes_of_statistics(q), q, kv,
                          r.arrays());
    plan.run(q, kv, {}, nullptr, {.found = statistics});
}

ATTENTA_INLINE void softmax_weights(Heads<const float> q, const KvView& kv, const RowStatistics* statistics,
                                    const ScoreEdits& weight_edits, Heads<float> o, const SoftmaxOptions& options,
                                    Context& context) {
    detail::SoftmaxRequest r("softmax_weights", q, {}, kv, options);
    detail::require_statistics("softmax_weights", statistics, q);
    const bool values = o.data || o.heads != 0 || o.tokens != 0 || o.dim != 0;
    r.request().values = values;
    r.request().two_passes = true;
    r.request().weight_edits = weight_edits;
    const attention::Plan& plan = attention::plan(r.request(), context);
    auto inputs = r.arrays();
    inputs.push_back({"statistics", Bytes::of(statistics, detail::bytes_of_statistics(q))});
    attention::check_tensors("softmax_weights", q, kv, values ? &o : nullptr, nullptr, inputs);
    plan.run(q, kv, o, nullptr, {.known = statistics});
}

ATTENTA_INLINE void detail::attend_with_scores(Heads<const float> q, const KvView& kv, Heads<float> o,
                                               const SoftmaxOptions& options, float* lse, float* scores,
                                               std::int64_t stride, Context& context) {
    const char* f = "softmax_attention";
    detail::SoftmaxRequest r(f, q, {}, kv, options);
    const attention::Plan& plan = attention::plan(r.request(), context);
    attention::check_tensors(f, q, kv, &o, lse, r.arrays());
    plan.run(q, kv, o, lse, {.scores = scores, .scores_stride = stride});
}

ATTENTA_INLINE void softmax_scores(Heads<const float> q, const KvView& kv, float* scores, ScoreStage stage,
                                   const SoftmaxOptions& options, Context& context) {
    const char* f = "softmax_scores";
    detail::SoftmaxRequest r(f, q, {}, kv, options);
    attention::Request& request = r.request();
    // The engine skips tiles that nobody sees, so it is not told.
    const auto masks = std::exchange(request.masks, {});
    if (stage != ScoreStage::masked) request.edits.clear();
    if (stage == ScoreStage::capped && options.softcap > 0)
        request.edits.push_back(edit(edits::SoftCap{options.softcap}));
    detail::KeptScores kept{scores, q.tokens, kv.sequences == 1 ? kv.length(0) : 0, {}};
    if (stage == ScoreStage::masked) kept.mask = {masks.data(), static_cast<std::int64_t>(masks.size())};
    request.edits.push_back(edit(kept));
    request.values = false;
    const attention::Plan& plan = attention::plan(request, context);

    attention::check_tensors(f, q, kv, nullptr, nullptr);
    detail::check_written(f, "scores", scores, bytes_of(hnd(scores, q.heads, q.tokens, kept.keys)).size(), q, kv,
                          r.arrays());
    plan.run(q, kv, {}, nullptr);
}

ATTENTA_END
