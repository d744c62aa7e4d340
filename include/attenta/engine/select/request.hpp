// The select loop: which keys, pages or blocks each query shall read.
//
//     for a range of queries:                              (scores of all keys at once are never in memory)
//       for blocks of keys:   S = Q Kᵀ;  score = Σ_heads weight · act(S);  a unit's score is the largest of its keys'
//       for each query:       the `top` best of the units that it may choose
//
// Few queries meet unpacked rows of keys, each read once for all heads that share it; many meet packed ones in register
// tiles. Ties go to the lower index. Results depend neither on threads nor on what is computed beside.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/lists/key_lists.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace select {

/// Keys that are kept for ranking alone, in panels of 16, channel by channel: [head][panel][channel][16 keys]. Scores of such
/// keys need no step across a vector, and memory is read in its order.
struct Panels {
    static constexpr std::int64_t width = 16;

    const void* data = nullptr;
    Dtype dtype = Dtype::f32;
    std::int64_t heads = 0, keys = 0, dim = 0;
    std::int64_t head_stride = 0;  ///< in elements

    explicit operator bool() const { return heads > 0; }
};

/// What a query at a position may see of things that stand in a row: [begin, end(position)).
struct Limit {
    std::int64_t count = 0;  ///< of all things
    std::int64_t begin = 0;
    bool causal = true;                          ///< false: all from `begin` on; true: the first
    std::int64_t shift = 0, unit = 1, plus = 0;  ///< floor((position + shift) / unit) + plus

    std::int64_t end(std::int64_t position) const {
        if (!causal) return count;
        const std::int64_t n = position + shift;
        return std::clamp<std::int64_t>((n < 0 ? (n - unit + 1) / unit : n / unit) + plus, 0, count);
    }
};

/// Scores of a query with the heads of a list, for a row function.
struct RowScores {
    const float* scores;  ///< [heads][stride], those of keys [0, keys)
    std::int64_t heads, stride, keys;
    std::int64_t list_head, query, position;  ///< whose they are, and where the query stands
    float* units;                             ///< to be filled: [0, count)
    std::int64_t count;                       ///< of units that the query may choose
};
/// Makes scores of units of scores of keys. `parameters` is Request::row_parameters.
using RowFunction = void (*)(const void* parameters, const RowScores& row);

struct Request {
    const char* function = "select";
    Heads<const float> q = {};  ///< [Hi, Tq, Di]
    KvView keys = {};           ///< its K [Hk, N, Di] of one sequence; Hi is a multiple of Hk
    Panels panels = {};         ///< in place of `keys`
    std::int64_t heads =
        1;  ///< of lists, a multiple of Hk that divides Hi: the scores of Hi / heads query heads are added
    Heads<const float> weights = {};  ///< [Hi, Tq, 1], of the heads in the sum; without data 1
    bool relu = false;                ///< of a head's scores, before the sum
    std::int64_t pool = 1;            ///< keys of a unit, whose score is the largest of theirs
    Limit visible_keys = {};          ///< keys whose scores count
    RowFunction row = nullptr;        ///< in place of sum and pool: scores of keys become those of units
    const void* row_parameters = nullptr;

    Limit units = {};                                ///< that a query may choose
    std::int64_t top = 1;                            ///< units that are chosen, with
    std::int64_t first_forced = 0, last_forced = 0;  ///< so many first and last ones in any case
    std::int64_t q_offset = 0;                       ///< position of query 0

    // From units to keys of the cache: unit u is keys [u · unit_keys, (u + 1) · unit_keys).
    std::int64_t unit_keys = 1;
    std::int64_t cache_keys = 0;
    bool others =
        false;  ///< keys before the units and behind those that a query may choose, up to its own, are read, too

    std::int64_t key_heads() const { return panels ? panels.heads : keys.heads; }
    std::int64_t key_count() const { return panels ? panels.keys : keys.length(0); }
    std::int64_t key_dim() const { return panels ? panels.dim : keys.k.dim; }

    float* scores = nullptr;  ///< [heads, Tq, units.count] are written there, 0 where a query may not choose; or null
};

/// The lists of all queries, in place of what `lists` held. Shapes and options have been checked.
void run(const Request& request, KeyLists& lists, Context& context);

/// Throws Error where q, keys and weights are not tensors that fit to each other.
void check(const Request& request);

}  // namespace select

ATTENTA_END
