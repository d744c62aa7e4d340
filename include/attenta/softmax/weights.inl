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

inline void check_row_sums(const char* function, Heads<const float> q, const float* lse) {
    if (!lse && q.tokens > 0)
        fail(function, "lse is null, needs [" + std::to_string(q.heads) + ", " + std::to_string(q.tokens) + "]");
}

/// An edit that only looks: scores [head, query, key], -inf where the mask hides the key.
struct KeptScores {
    float* scores;
    std::int64_t queries, keys;
    MaskSet mask;

    void operator()(const ScoreTile& t) const {
        for (std::int64_t r = 0; r < t.rows; ++r) {
            const TileRow& row = t.row[r];
            float* const to = scores + (row.head * queries + row.index) * keys + t.keys.begin;
            std::copy_n(t.s + r * t.stride, t.keys.count, to);
            if (mask) hide(row, t.keys, to);
        }
    }

private:
    void hide(const TileRow& row, const KeyBlock& block, float* s) const {
        std::uint64_t words[tile::rows_block / 64];
        std::fill(std::begin(words), std::end(words), ~std::uint64_t{0});
        mask.bits(row, block, words);
        for (std::int64_t i = 0; i < block.count; ++i)
            if ((words[i / 64] >> (i % 64) & 1) == 0) s[i] = -std::numeric_limits<float>::infinity();
    }
};

}  // namespace detail

ATTENTA_INLINE void softmax_statistics(Heads<const float> q, const KvView& kv, float* lse,
                                       const SoftmaxOptions& options, Context& context) {
    detail::SoftmaxRequest r("softmax_statistics", q, {}, kv, options);
    r.request().values = false;
    const tile::Plan plan(r.request(), context);
    detail::check_row_sums("softmax_statistics", q, lse);
    tile::check_tensors("softmax_statistics", q, kv, nullptr, lse, r.arrays());
    plan.run(q, kv, {}, lse);
}

ATTENTA_INLINE void softmax_weights(Heads<const float> q, const KvView& kv, const float* lse,
                                    const ScoreEdits& weight_edits, Heads<float> o, const SoftmaxOptions& options,
                                    Context& context) {
    detail::SoftmaxRequest r("softmax_weights", q, {}, kv, options);
    detail::check_row_sums("softmax_weights", q, lse);
    const bool values = o.data || o.heads != 0 || o.tokens != 0 || o.dim != 0;
    r.request().values = values;
    r.request().known_lse = lse;
    r.request().weight_edits = weight_edits;
    const tile::Plan plan(r.request(), context);
    std::vector<NamedBytes> inputs = r.arrays();
    inputs.push_back({"lse", bytes_of(std::span(lse, static_cast<std::size_t>(q.heads * q.tokens)))});
    tile::check_tensors("softmax_weights", q, kv, values ? &o : nullptr, nullptr, inputs);
    plan.run(q, kv, o, nullptr, lse);
}

ATTENTA_INLINE void softmax_scores(Heads<const float> q, const KvView& kv, float* scores, ScoreStage stage,
                                   const SoftmaxOptions& options, Context& context) {
    const char* f = "softmax_scores";
    detail::SoftmaxRequest r(f, q, {}, kv, options);
    tile::Request& request = r.request();
    // The engine skips tiles that nobody sees, so it is not told.
    const std::vector<Mask> masks = std::exchange(request.masks, {});
    if (stage != ScoreStage::masked) request.edits.resize(stage == ScoreStage::capped && options.softcap > 0 ? 1 : 0);
    detail::KeptScores kept{scores, q.tokens, kv.sequences == 1 ? kv.length(0) : 0, {}};
    if (stage == ScoreStage::masked) kept.mask = {masks.data(), static_cast<std::int64_t>(masks.size())};
    request.edits.push_back(edit(kept));
    request.values = false;
    const tile::Plan plan(request, context);

    const Bytes bytes = bytes_of(hnd(scores, q.heads, q.tokens, kept.keys));
    tile::check_tensors(f, q, kv, nullptr, nullptr);
    tile::checks::check_extent(f, "scores", bytes);
    tile::checks::check_pointer(f, "scores", scores, sizeof(float), bytes.size() > 0);
    tile::checks::check_apart(f, "scores", bytes, tile::checks::inputs(q, kv));
    tile::checks::check_apart(f, "scores", bytes, r.arrays());
    plan.run(q, kv, {}, nullptr);
}

ATTENTA_END
