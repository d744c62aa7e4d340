#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/select/kernels.hpp>
#include <attenta/engine/select/request.hpp>
#include <attenta/softmax/weights.hpp>
#include <attenta/sparse/key_rows.hpp>
#include <attenta/sparse/pages/minference.hpp>
#include <attenta/sparse/pages/minference_edit.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_minference(const MinferenceInputs& x, const MinferenceOptions& options) {
    require_at_least("minference", "sink", options.sink, 0);
    require_at_least("minference", "local", options.local, 0);
    require_at_least("minference", "vertical_size", options.vertical_size, 0);
    require_at_least("minference", "slash_size", options.slash_size, 0);
    require_at_least("minference", "last_q", options.last_q, 1);
    require_at_least("minference", "block", options.block_size(), 1);
    require_at_least("minference", "top_k", options.top_k, 1);
    if (options.pattern > MinferencePattern::block_sparse)
        fail("minference", "pattern is " + std::to_string(static_cast<int>(options.pattern)) +
                               ", needs a_shape, vertical_slash or block_sparse");
    if (!x.selection || options.pattern != MinferencePattern::vertical_slash) return;
    const std::int64_t tokens = x.q.tokens;
    for (const auto& [name, of_heads] :
         {std::pair{"columns", &x.selection->columns}, {"offsets", &x.selection->offsets}}) {
        if (static_cast<std::int64_t>(of_heads->size()) != x.q.heads)
            fail("minference", std::string("selection has ") + name + " of " + std::to_string(of_heads->size()) +
                                   " heads, needs " + std::to_string(x.q.heads));
        for (const auto& list : *of_heads)
            for (std::size_t i = 0; i < list.size(); ++i)
                if (const std::int64_t least = i > 0 ? list[i - 1] + 1 : 0; list[i] < least || list[i] >= tokens)
                    fail("minference", std::string("selection has ") + std::to_string(list[i]) + " in " + name +
                                           ", needs " + std::to_string(least) + " to " + std::to_string(tokens - 1));
    }
}

/// The first `forced` of x, and the largest others: max(size, forced) indices, ascending.
inline std::vector<std::int64_t> largest(const std::vector<float>& x, std::int64_t forced, std::int64_t size) {
    const auto n = static_cast<std::int64_t>(x.size());
    forced = std::min(forced, n);
    size = std::clamp(size, forced, n);
    std::vector<std::int32_t> found(static_cast<std::size_t>(n)), scratch(2 * x.size());
    const std::int64_t count =
        select::top_of_row(active_isa())(x.data() + forced, n - forced, size - forced, found.data(), scratch.data());
    std::vector<std::int64_t> all;
    all.reserve(static_cast<std::size_t>(forced + count));
    for (std::int64_t i = 0; i < forced; ++i) all.push_back(i);
    for (std::int64_t i = 0; i < count; ++i) all.push_back(forced + found[static_cast<std::size_t>(i)]);
    return all;
}

/// Columns and offsets of the largest sums of the last queries' weights.
inline void find_lines(const MinferenceInputs& x, MinferenceSelection& selection, const MinferenceOptions& options,
                       Context& context) {
    const std::int64_t T = x.q.tokens, queries = std::min(options.last_q, T), heads = x.q.heads;
    const Heads<const float> q = x.q.slice(T - queries, queries);
    const SoftmaxOptions causal{.scale = options.scale, .causal = true};
    std::vector<RowStatistics> statistics(static_cast<std::size_t>(heads * queries));
    std::vector<float> columns(static_cast<std::size_t>(heads * T)), offsets(columns.size());
    softmax_statistics(q, x.kv, statistics.data(), causal, context);
    softmax_weights(q, x.kv, statistics.data(),
                    edit(edits::ColumnSums{columns.data(), T}) | edit(edits::OffsetSums{offsets.data(), T}), {}, causal,
                    context);
    selection.columns.resize(static_cast<std::size_t>(heads));
    selection.offsets.resize(static_cast<std::size_t>(heads));
    run_tasks(context.executor(), heads, [&](std::int64_t h, int) {
        const auto head = static_cast<std::size_t>(h);
        const std::vector<float> column(columns.begin() + h * T, columns.begin() + (h + 1) * T);
        std::vector<float> offset(offsets.begin() + h * T, offsets.begin() + (h + 1) * T);
        std::reverse(offset.begin(), offset.end());
        selection.columns[head] = largest(column, options.sink, options.vertical_size);
        selection.offsets[head] = largest(offset, options.local, options.slash_size);
    });
}

/// Means of the rows of blocks, [heads, ceil(tokens / block), dim]; read(head, token, to).
template <class Read>
std::vector<float> means_of_blocks(std::int64_t heads, std::int64_t tokens, std::int64_t dim, std::int64_t block,
                                   Context& context, Read&& read) {
    const std::int64_t blocks = blocks_of(tokens, block);
    std::vector<float> means(static_cast<std::size_t>(heads * blocks * dim));
    run_tasks(context.executor(), heads * blocks, [&](std::int64_t i, int) {
        const std::int64_t first = i % blocks * block, end = std::min(first + block, tokens);
        std::vector<float> row(static_cast<std::size_t>(dim));
        std::vector<double> sum(row.size());
        for (std::int64_t t = first; t < end; ++t) {
            read(i / blocks, t, row.data());
            for (std::size_t c = 0; c < sum.size(); ++c) sum[c] += double{row[c]};
        }
        for (std::size_t c = 0; c < sum.size(); ++c)
            means[static_cast<std::size_t>(i * dim) + c] =
                static_cast<float>(sum[c] / static_cast<double>(end - first));
    });
    return means;
}

inline void find_blocks(const MinferenceInputs& x, KeyLists& lists, const MinferenceOptions& options,
                        Context& context) {
    const std::int64_t T = x.q.tokens, dim = x.q.dim, size = std::min(options.block_size(), T),
                       blocks = blocks_of(T, size);
    const std::vector<float> of_q = means_of_blocks(x.q.heads, T, dim, size, context,
                                                    [&](std::int64_t h, std::int64_t t, float*to) {
                                                        std::copy_n(x.q.row(h, t), dim, to);
                                                    }),
                             of_k = means_of_blocks(
                                 x.kv.heads, T, dim, size, context,
                                 [&](std::int64_t h, std::int64_t t, float*to) { read_key(x.kv, h, t, to); });
    const Heads<const float> k = hnd(of_k.data(), x.kv.heads, blocks, dim);
    select::Request r{.function = "minference",
                      .q = hnd(of_q.data(), x.q.heads, blocks, dim),
                      .keys = KvView::of(k, k),
                      .heads = x.q.heads};
    r.visible_keys = r.units = {.count = blocks, .plus = 1};
    r.top = options.top_k;
    r.cache_keys = blocks;
    KeyLists chosen;
    select::check(r);
    select::run(r, chosen, context);
    lists.reset({x.q.heads, T, T, size, size});
    for (std::int64_t n = 0; n < chosen.lists(); ++n) {
        for (const KeyRun& run : chosen.runs(n))
            lists.add(run.start * size, std::min(run.count * size, T - run.start * size));
        lists.end_list();
    }
}

/// A row of bits, and how many are set before each.
class KeptBits {
public:
    explicit KeptBits(std::int64_t n) : words_(static_cast<std::size_t>(n / 64 + 2)), before_(1) {
        before_.reserve(static_cast<std::size_t>(n + 1));
    }
    void push(bool kept) {
        const std::size_t i = before_.size() - 1;
        if (kept) words_[i / 64] |= std::uint64_t{1} << (i % 64);
        before_.push_back(before_.back() + kept);
    }
    /// Bits i .. i + 63; there are none behind the last one.
    std::uint64_t word(std::int64_t i) const {
        const auto w = static_cast<std::size_t>(i / 64);
        if (w + 1 >= words_.size()) return 0;
        return i % 64 == 0 ? words_[w] : words_[w] >> (i % 64) | words_[w + 1] << (64 - i % 64);
    }
    /// In [begin, end), of the bits that there are.
    std::int64_t count(std::int64_t begin, std::int64_t end) const {
        const auto n = static_cast<std::int64_t>(before_.size()) - 1;
        begin = std::clamp<std::int64_t>(begin, 0, n);
        return before_[static_cast<std::size_t>(std::clamp(end, begin, n))] - before_[static_cast<std::size_t>(begin)];
    }

private:
    std::vector<std::uint64_t> words_;
    std::vector<std::int32_t> before_;
};

/// The lines of a head.
struct KeptLines {
    KeptBits columns, offsets;
    /// Bit n: whether an offset from x = before - n to x + block - 1 is kept. The queries of a block that ends before e
    /// see key j by such an x = e - block - j: their keys are a row of these bits.
    KeptBits seen;

    KeptLines(const std::vector<std::int64_t>& of_columns, const std::vector<std::int64_t>& of_offsets,
              std::int64_t tokens, std::int64_t block)
        : columns(tokens), offsets(tokens), seen(tokens + 2 * block) {
        const auto put = [tokens](const std::vector<std::int64_t>& list, KeptBits& to) {
            auto next = list.begin();
            for (std::int64_t i = 0; i < tokens; ++i) {
                const bool kept = next != list.end() && *next == i;
                to.push(kept);
                if (kept) ++next;
            }
        };
        put(of_columns, columns);
        put(of_offsets, offsets);
        for (std::int64_t x = (tokens - 1) / block * block; x > -block; --x) seen.push(offsets.count(x, x + block) > 0);
    }
};

/// Keys at kept offsets that are no kept columns. Later keys may be shown.
struct SlashMask {
    const KeptLines* lines;  ///< [Hq]
    std::int64_t tokens, block, group;

    std::int64_t end_of_block(std::int64_t position) const { return (position / block + 1) * block; }

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const {
        const KeptLines& of = lines[r.head];
        const std::int64_t end = end_of_block(r.position);
        const std::int64_t first = (tokens - 1) / block * block - (end - block) + keys.begin;
        for (std::int64_t i = 0; i < keys.count; i += 64) {
            std::uint64_t shown = of.seen.word(first + i);
            // Offsets that reach before key 0 show the first block of keys.
            for (std::int64_t j = keys.begin + i; j < std::min(block, keys.begin + std::min(i + 64, keys.count)); ++j)
                if (of.offsets.count(end - block - j, end) > 0) shown |= std::uint64_t{1} << (j - keys.begin - i);
            words[i / 64] &= shown & ~of.columns.word(keys.begin + i);
        }
    }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const std::int64_t first = end_of_block(a.position) - block - (keys.begin + keys.count - 1),
                           end = end_of_block(b.position) - (keys.begin < block ? 0 : keys.begin);
        const std::int64_t offsets = std::min(end, tokens) - std::max<std::int64_t>(first, 0);
        Cover any = Cover::none, every = Cover::all;
        for (std::int64_t h = a.head / group * group; h < (a.head / group + 1) * group; ++h) {
            const std::int64_t kept = lines[h].offsets.count(first, end);
            const bool all = kept == offsets && lines[h].columns.count(keys.begin, keys.begin + keys.count) == 0;
            const Cover c = kept == 0 ? Cover::none : all ? Cover::all : Cover::some;
            any = std::max(any, c);
            every = std::min(every, c);
        }
        return any == Cover::none || every == Cover::all ? any : Cover::some;
    }
};

/// Columns as a list of each head for all queries, and what offsets show beside them.
inline void attend_lines(const SparseCall& call, const MinferenceSelection& found, std::int64_t block) {
    const std::int64_t T = call.q.tokens;
    KeyLists columns({call.q.heads, T, T, T});
    std::vector<KeptLines> lines;
    lines.reserve(found.columns.size());
    for (std::size_t h = 0; h < found.columns.size(); ++h) {
        for (const std::int64_t j : found.columns[h]) columns.add(j, 1);
        columns.end_list();
        lines.emplace_back(found.columns[h], found.offsets[h], T, block);
    }
    SparseParts parts(call, 2);
    attention::Request of_columns = parts.request(), of_offsets = parts.request();
    of_columns.masks = {Causal{}};
    of_columns.lists = {&columns, 1};
    parts.add(of_columns);
    of_offsets.masks = {Causal{}, SlashMask{lines.data(), T, block, call.group()}};
    parts.add(of_offsets);
    parts.merge();
}

}  // namespace detail

ATTENTA_INLINE void minference_lists(const MinferenceInputs& x, MinferenceSelection& selection,
                                     const MinferenceOptions& options, Context& context) {
    check_given("minference", InputList(x));
    check_shapes("minference", InputList(x), {});
    detail::check_minference(x, options);
    if (x.q.tokens != x.kv.length(0))
        fail("minference",
             "q has " + std::to_string(x.q.tokens) + " tokens, needs the " + std::to_string(x.kv.length(0)) + " of k");
    selection = {};
    if (options.pattern == MinferencePattern::vertical_slash) detail::find_lines(x, selection, options, context);
    if (options.pattern == MinferencePattern::block_sparse) detail::find_blocks(x, selection.blocks, options, context);
}

ATTENTA_INLINE void minference(const MinferenceInputs& x, const MinferenceOutputs& out,
                               const MinferenceOptions& options, Context& context) {
    const auto call = detail::check_sparse("minference", x, out, options, Positions::same, context);
    detail::check_minference(x, options);
    if (options.pattern == MinferencePattern::a_shape) {
        const Window local{options.local - 1, 0};  // of no key where that is -1, which is without a limit otherwise
        return call.attend(options.local > 0 ? Mask(Causal{} && (Global{options.sink} || local))
                                             : Mask(Causal{} && Global{options.sink}));
    }
    MinferenceSelection own;
    MinferenceSelection& found = out.selection ? *out.selection : own;
    if (x.selection)
        found = *x.selection;
    else
        minference_lists(x, found, options, context);
    if (options.pattern == MinferencePattern::block_sparse) return call.attend(found.blocks, Causal{});
    // A block of all tokens is the largest.
    detail::attend_lines(call, found, std::min(options.block_size(), x.q.tokens));
}

ATTENTA_END
