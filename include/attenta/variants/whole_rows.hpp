// Attention whose weights need a row's last score before the first of them is known.
//
//   for ranges of queries:   S = scores, −inf where a key is hidden
//                            S ← what a mechanism makes of its rows
//                            O = S V, or softmax(S) V
//
// The products of queries and keys are made once: the second pass reads S. A range's scores are few megabytes, however long the
// call is. Time as softmax, and S written and read twice.
#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/softmax/relative/query_ranges.hpp>
#include <attenta/variants/common.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// S [heads, queries] of a range that begins at query `first` of the call; rows have `stride` elements, a multiple of any vector.
struct ScoreRange {
    float* scores;
    std::int64_t heads, queries, stride, first;
    const attention::Request* request;  ///< of the range
    std::int64_t position;              ///< of its query 0

    float* row(std::int64_t head, std::int64_t query) const { return scores + (head * queries + query) * stride; }
    /// The elements of a row, whole vectors, that may not be hidden: with −inf where they are, and behind the last key.
    Interval seen(std::int64_t head, std::int64_t query) const {
        const attention::Request& r = *request;
        if (r.masks.empty() || r.kv.positions || r.kv.differs_by_head()) return {0, stride};
        const QueryRow row{static_cast<int>(head), query, position + query, 0};
        const MaskSet masks{r.masks.data(), static_cast<std::int64_t>(r.masks.size())};
        const Interval keys = intersect(masks.hull(row, row), {0, r.kv.length(0)});
        return {keys.begin / 16 * 16, round_up(keys.end, 16)};
    }
};

/// A row of a range: `count` elements from key `begin` on; all others are hidden.
struct ScoreRow {
    float* s;
    std::int64_t begin, count, head, query;  ///< the query's number in the call
    int slot;
};

struct WholeRowsMemory {
    std::vector<float> scores, lse;
};

inline std::int64_t score_stride(std::int64_t keys) { return round_up(keys, 16); }

/// Queries whose scores are held at once, by the sizes alone.
inline std::int64_t queries_of_range(std::int64_t heads, std::int64_t keys, std::int64_t queries) {
    // 4 MiB stay in the caches of current processors; 64 rows are what a packing of K and V is worth.
    constexpr std::int64_t bytes = std::int64_t{4} << 20, least = 64;
    const std::int64_t row = heads * score_stride(keys) * static_cast<std::int64_t>(sizeof(float));
    return std::min(queries, std::max(least, bytes / row));
}

/// The scores of `part` as its edits and masks leave them.
inline ScoreRange scores_of_range(const SoftmaxCall& part, std::int64_t first, std::vector<float>& memory) {
    const attention::Request& r = part.request;
    const std::int64_t keys = part.keys(), stride = score_stride(keys), rows = r.q.heads * r.q.tokens;
    memory.resize(static_cast<std::size_t>(rows * stride));
    const ScoreRange s{memory.data(), r.q.heads, r.q.tokens, stride, first, &r, part.first_position()};
    // Of blocks that nobody sees nothing is written.
    const std::int64_t written = r.masks.empty() && !r.kv.differs_by_head() ? keys : 0;
    for (std::int64_t h = 0; h < s.heads; ++h)
        for (std::int64_t i = 0; i < s.queries; ++i) {
            const Interval seen = s.seen(h, i);
            std::fill(s.row(h, i) + std::max(written, seen.begin), s.row(h, i) + seen.end,
                      -std::numeric_limits<float>::infinity());
        }
    attention::Request products = r;
    products.values = products.local_weights = false;
    attention::plan(products, *part.context).run(r.q, r.kv, {}, nullptr, {.scores = s.scores, .scores_stride = stride});
    return s;
}

/// Calls make(ScoreRange) for each range, in order; what it leaves are the weights of a call with local weights, else the scores
/// of a softmax.
template <class F>
void attend_by_rows(const SoftmaxCall& call, WholeRowsMemory& memory, F&& make) {
    const attention::Request& whole = call.request;
    const std::int64_t range = queries_of_range(whole.q.heads, call.keys(), whole.q.tokens);
    for_query_ranges(call, range, memory.lse, [&](const SoftmaxCall& part, std::int64_t first) {
        const ScoreRange s = scores_of_range(part, first, memory.scores);
        make(s);
        attention::Request values = without_products(part.request);
        values.edits.clear();
        values.edits.push_back(edit(edits::GivenScores{s.scores, s.queries, s.stride}));
        attention::plan(values, *part.context).run(values.q, values.kv, part.out.o, part.out.lse);
    });
}

/// make(ScoreRow) for each row of a range, side by side.
template <class F>
void for_score_rows(const ScoreRange& s, Context& context, F&& make) {
    constexpr std::int64_t together = 8;  // rows of a task
    const std::int64_t rows = s.heads * s.queries;
    run_tasks(context.executor(), ceil_div(rows, together), [&](std::int64_t task, int slot) {
        for (std::int64_t r = task * together; r < std::min(rows, (task + 1) * together); ++r) {
            const std::int64_t h = r / s.queries, i = r % s.queries;
            const Interval seen = s.seen(h, i);
            make(ScoreRow{s.row(h, i) + seen.begin, seen.begin, seen.end - seen.begin, h, s.first + i, slot});
        }
    });
}

}  // namespace detail

ATTENTA_END
