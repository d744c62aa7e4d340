// Where the rows of K and V lie, in the order in which the few-query loop reads them.
#pragma once

#include <attenta/engine/few/task.hpp>
#include <attenta/engine/lists/key_cursor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace attention {

/// f(i, token): the i-th row of `count` that is read, from `streams` places in turn, is that of the block's token.
template <class F>
ATTENTA_ALWAYS_INLINE void for_tokens(std::int64_t count, std::int64_t streams, F&& f) {
    for (std::int64_t stream = 0, token = 0; stream < streams; ++stream)
        for (std::int64_t i = stream; i < count; i += streams) f(i, token++);
}

/// Keys from places of a whole run of blocks in turn, and where their scores stand.
template <class Arch, int Rows>
void order_keys_of_run(const FewScratch& x, std::int64_t streams, const std::byte* const* located) {
    const std::int64_t part = FewScratch::run_blocks * rows_block / streams, part_of_block = rows_block / streams;
    for (std::int64_t stream = 0, token = 0; stream < streams; ++stream)
        for (std::int64_t n = 0; n < part; ++n, ++token) {
            const std::int64_t i = n * streams + stream, block = token / rows_block, t = token % rows_block;
            x.k_rows[i] = located[token];
            x.places[i] = static_cast<std::int32_t>(block * FewShape<Arch, Rows>::s_stride +
                                                    (t % part_of_block * streams + t / part_of_block) * Rows);
        }
}

/// A block of keys or a run of whole ones, and the places that rows of a block are taken from in turn.
struct LocatedRun {
    KeyBlock keys;
    std::int64_t streams = 1;
};

/// Fills k_rows and v_rows for the next `length` keys, from `begin` on.
template <class Arch, int Rows>
LocatedRun locate_rows(const FewTask<Arch, Rows>& task, KeyCursor& cursor, std::int64_t begin, std::int64_t length) {
    const FewScratch& x = task.scratch;
    const std::int64_t count = std::min(length, rows_block), most = task.reading.streams;
    // Whole vectors of each place's tokens, for the transposes of edits.
    const std::int64_t streams = count % (most * FewScratch::most_lanes) == 0 ? most : 1;
    const std::byte** const k = streams > 1 ? x.k_located : x.k_rows;
    const std::byte** const v = streams > 1 ? x.v_located : x.v_rows;
    const KeyBlock run = cursor.locate(begin, length, k, v, x.positions);
    if (streams > 1)
        for (std::int64_t b = 0; b < run.count; b += rows_block)
            for_tokens(count, streams, [&](std::int64_t i, std::int64_t token) {
                x.k_rows[b + i] = k[b + token];
                x.v_rows[b + i] = v[b + token];
            });
    if (run.count > rows_block) order_keys_of_run<Arch, Rows>(x, streams, k);
    // The last scores are computed in whole groups, too.
    std::fill_n(x.k_rows + run.count, FewShape<Arch, Rows>::score_tokens, x.k_rows[run.count - 1]);
    return {run, streams};
}

}  // namespace attention

ATTENTA_END
