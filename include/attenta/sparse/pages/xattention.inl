#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/select/request.hpp>
#include <attenta/sparse/further_outputs.hpp>
#include <attenta/sparse/key_rows.hpp>
#include <attenta/sparse/pages/xattention.hpp>
#include <attenta/sparse/row_softmax.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// The same selection with tiles and blocks no larger than the sequence needs: one tile of all keys, or one block.
inline XattentionOptions within(XattentionOptions options, std::int64_t keys) {
    if (options.stride >= keys) options.stride = options.block_size = std::max<std::int64_t>(keys, 1);
    if (options.block_size > keys)
        options.block_size = std::max<std::int64_t>(blocks_of(keys, options.stride), 1) * options.stride;
    return options;
}

inline void check_xattention(const XattentionInputs& x, const XattentionOptions& options) {
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    require_at_least("xattention", "stride", options.stride, 1);
    require_at_least("xattention", "block_size", options.block_size, 1);
    if (options.block_size % options.stride != 0)
        fail("xattention",
             "stride is " + text(options.stride) + ", needs a divisor of the block_size " + text(options.block_size));
    const std::int64_t before = x.kv.length(0) - x.q.tokens;
    if (before < 0 || before % options.block_size != 0)
        fail("xattention", "k has " + text(before) + " tokens more than q, needs a multiple of the block_size " +
                               text(options.block_size));
    if (!is_finite(options.norm) || options.norm <= 0)
        fail("xattention", "norm is " + std::to_string(options.norm) + ", needs a finite number above 0");
    const auto check = [](float threshold) {
        if (!(threshold > 0 && threshold <= 1))
            fail("xattention", "threshold is " + std::to_string(threshold) + ", needs a number above 0, at most 1");
    };
    if (x.threshold.empty()) check(options.threshold);
    for (const float threshold : x.threshold) check(threshold);
}

/// Rows of S tokens behind each other, [heads, ceil(tokens / S), S · dim]. Tokens behind the last one are zeros.
class TileRows {
public:
    TileRows(std::int64_t heads, std::int64_t tokens, std::int64_t dim, std::int64_t stride)
        : heads_(heads), tokens_(tokens), dim_(dim), stride_(stride), tiles_(blocks_of(tokens, stride)) {
        rows_.resize(static_cast<std::size_t>(heads * tiles_ * stride * dim));
    }
    /// read(head, token, to) of all tokens, those of a tile in order or reversed.
    template <class Read>
    void fill(bool reversed, Context& context, Read&& read) {
        run_tasks(context.executor(), heads_ * tiles_, [&](std::int64_t i, int) {
            const std::int64_t first = i % tiles_ * stride_, count = std::min(stride_, tokens_ - first);
            float* const tile = rows_.data() + i * stride_ * dim_;
            for (std::int64_t r = 0; r < count; ++r)
                read(i / tiles_, first + r, tile + (reversed ? stride_ - 1 - r : r) * dim_);
        });
    }
    Heads<const float> view() const { return hnd(rows_.data(), heads_, tiles_, stride_ * dim_); }

private:
    std::int64_t heads_, tokens_, dim_, stride_, tiles_;
    std::vector<float> rows_;
};

/// The softmax of a row of tiles, summed over the tiles of each block.
struct ShareOfBlocks {
    RowSoftmaxFunction softmax;
    float scale;
    std::int64_t tiles_of_block;

    static void row(const void* parameters, const select::RowScores& r) {
        const auto& self = *static_cast<const ShareOfBlocks*>(parameters);
        std::vector<float> weights(static_cast<std::size_t>(r.keys));
        self.softmax(r.scores, r.keys, self.scale, weights.data());
        for (std::int64_t n = 0; n < r.count; ++n) {
            const std::int64_t first = n * self.tiles_of_block, end = std::min(first + self.tiles_of_block, r.keys);
            r.units[n] = std::accumulate(weights.begin() + first, weights.begin() + end, 0.f);
        }
    }
};

/// A_mn of all heads to `share`, [Hq, blocks of queries, blocks of keys]. Rows of tiles come in ranges of whole blocks, so
/// that nothing of size tiles × blocks is in memory.
inline void share_blocks(const XattentionInputs& x, const XattentionOptions& options, float* share, Context& context) {
    const std::int64_t S = options.stride, keys = x.kv.length(0), per_block = options.block_size / S;
    TileRows of_q(x.q.heads, x.q.tokens, x.q.dim, S), of_k(x.kv.heads, keys, x.q.dim, S);
    of_q.fill(true, context,
              [&](std::int64_t h, std::int64_t t, float* to) { std::copy_n(x.q.row(h, t), x.q.dim, to); });
    of_k.fill(false, context, [&](std::int64_t h, std::int64_t t, float* to) { read_key(x.kv, h, t, to); });
    const Heads<const float> q = of_q.view(), k = of_k.view();
    const std::int64_t heads = q.heads, query_blocks = blocks_of(q.tokens, per_block),
                       key_blocks = blocks_of(k.tokens, per_block);

    const float scale = options.scale.value_or(1.f / std::sqrt(static_cast<float>(x.q.dim)));
    const ShareOfBlocks row{row_softmax(), scale / (static_cast<float>(S) * options.norm), per_block};
    select::Request r{.function = "xattention", .keys = KvView::of(k, k), .heads = heads};
    r.visible_keys = {.count = k.tokens, .shift = 1};
    r.row = ShareOfBlocks::row;
    r.row_parameters = &row;
    r.units = {.count = key_blocks, .unit = per_block, .plus = 1};
    constexpr std::int64_t most_floats = std::int64_t{1} << 22;
    const std::int64_t range = std::max<std::int64_t>(1, most_floats / (heads * per_block * key_blocks));
    std::vector<float> of_rows;
    KeyLists unused;
    for (std::int64_t m = 0; m < query_blocks; m += range) {
        const std::int64_t first = m * per_block, rows = std::min(range * per_block, q.tokens - first);
        of_rows.resize(static_cast<std::size_t>(heads * rows * key_blocks));
        r.q = q.slice(first, rows);
        r.q_offset = k.tokens - q.tokens + first;
        r.cache_keys = key_blocks;
        r.scores = of_rows.data();
        select::check(r);
        select::run(r, unused, context);
        run_tasks(context.executor(), heads * blocks_of(rows, per_block), [&](std::int64_t i, int) {
            const std::int64_t h = i % heads, block = i / heads;
            float* const to = share + (h * query_blocks + m + block) * key_blocks;
            std::fill_n(to, key_blocks, 0.f);
            for (std::int64_t a = block * per_block; a < std::min((block + 1) * per_block, rows); ++a)
                for (std::int64_t n = 0; n < key_blocks; ++n) to[n] += of_rows.data()[(h * rows + a) * key_blocks + n];
        });
    }
}

/// Blocks 0 and `own`, then those of the largest shares until the threshold is reached, ascending.
inline std::vector<std::int64_t> blocks_up_to(const float* share, std::int64_t own, float threshold) {
    std::vector<std::int64_t> blocks(static_cast<std::size_t>(own) + 1);
    std::iota(blocks.begin(), blocks.end(), 0);
    if (own < 2) return blocks;
    const double need = double{threshold} * std::accumulate(share, share + own + 1, 0.0);
    double taken = double{share[0]} + double{share[own]};
    std::swap(blocks[1], blocks.back());
    std::sort(blocks.begin() + 2, blocks.end(),
              [&](std::int64_t a, std::int64_t b) { return share[a] > share[b] || (share[a] == share[b] && a < b); });
    std::size_t count = 2;
    for (; count < blocks.size() && taken < need; ++count) taken += double{share[blocks[count]]};
    blocks.resize(count);
    std::sort(blocks.begin(), blocks.end());
    return blocks;
}

inline void select_xattention(const XattentionInputs& x, KeyLists& lists, const XattentionOptions& given,
                              Context& context, float* block_share) {
    check_xattention(x, given);
    const XattentionOptions options = within(given, x.kv.length(0));
    const std::int64_t keys = x.kv.length(0), size = options.block_size, heads = x.q.heads;
    const std::int64_t query_blocks = blocks_of(x.q.tokens, size), key_blocks = blocks_of(keys, size);
    std::vector<float> own;
    if (!block_share) {
        own.resize(static_cast<std::size_t>(heads * query_blocks * key_blocks));
        block_share = own.data();
    }
    share_blocks(x, options, block_share, context);

    std::vector<std::vector<std::int64_t>> blocks(static_cast<std::size_t>(heads * query_blocks));
    run_tasks(context.executor(), heads * query_blocks, [&](std::int64_t i, int) {
        const std::int64_t h = i / query_blocks, own_block = (keys - x.q.tokens) / size + i % query_blocks;
        const float threshold = x.threshold.empty() ? options.threshold : x.threshold[static_cast<std::size_t>(h)];
        blocks[static_cast<std::size_t>(i)] = blocks_up_to(block_share + i * key_blocks, own_block, threshold);
    });
    lists.reset({heads, x.q.tokens, keys, size, size});
    for (const auto& list : blocks) {
        for (const std::int64_t b : list) lists.add(b * size, std::min(size, keys - b * size));
        lists.end_list();
    }
}

}  // namespace detail

ATTENTA_INLINE void xattention_lists(const XattentionInputs& x, KeyLists& lists, const XattentionOptions& given,
                                     Context& context, float* block_share) {
    detail::check_selection("xattention", InputList(x), x.q, x.kv);
    detail::select_xattention(x, lists, given, context, block_share);
}

ATTENTA_INLINE void xattention(const XattentionInputs& x, const XattentionOutputs& out,
                               const XattentionOptions& options, Context& context) {
    const auto call = detail::check_sparse("xattention", x, out, options, Positions::last, context);
    detail::check_xattention(x, options);
    if (out.block_share)
        detail::FurtherOutputs(call, InputList(x))
            .add("block_share", hnd(out.block_share, x.q.heads, detail::blocks_of(x.q.tokens, options.block_size),
                                    detail::blocks_of(call.keys(), options.block_size)));
    detail::CallLists lists(call);
    detail::select_xattention(x, *lists, options, context, out.block_share);
    call.attend(*lists, Causal{});
}

ATTENTA_END
