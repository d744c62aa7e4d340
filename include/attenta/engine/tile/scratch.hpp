// Sizes and scratch of the tile loop's tasks, the same for every instruction set.
#pragma once

#include <attenta/engine/attention/job.hpp>
#include <attenta/engine/common/arena.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace attention {

inline constexpr std::int64_t words_per_block = key_block / 64;

/// Query rows that share one packing of K and V, in whole tiles.
constexpr std::int64_t rows_per_task(const TileTuning& tuning, std::int64_t dim, std::int64_t dim_v) {
    const std::int64_t rows = tuning.task_bytes / (4 * (dim + dim_v));
    return std::clamp(rows / rows_per_tile * rows_per_tile, rows_per_tile, tuning.most_task_rows);
}

/// Scratch of a task, sized for the widest instruction set.
struct TileScratch {
    static constexpr std::int64_t most_lanes = 16, most_rows = 12;
    const std::byte **k_rows, **v_rows, **k_next, **v_next;
    std::int32_t *positions, *positions_next;
    float *k, *v, *q, *o, *m, *l, *s, *alpha, *decoded;
    const std::byte** decoded_rows;
    QueryRow* row;
    std::int64_t decoded_stride;
    std::uint64_t* bits;

    /// The first two rows hold scales of channels.
    float* decoded_row(std::int64_t i) const { return decoded + (2 + i) * decoded_stride; }

    TileScratch(Arena& c, const KvView& kv, std::int64_t rows) {
        const std::int64_t dim = kv.key_dim(), dim_v = kv.v.dim;
        const std::int64_t padded = round_up(rows, most_rows);
        k_rows = c.take<const std::byte*>(key_block);
        v_rows = c.take<const std::byte*>(key_block);
        k_next = c.take<const std::byte*>(key_block);
        v_next = c.take<const std::byte*>(key_block);
        positions = c.take<std::int32_t>(key_block);
        positions_next = c.take<std::int32_t>(key_block);
        k = c.take<float>(key_block * dim);
        v = c.take<float>(key_block * round_up(dim_v, most_lanes));
        q = c.take<float>(padded * dim + most_lanes);
        o = c.take<float>(padded * round_up(dim_v, most_lanes));
        m = c.take<float>(padded);
        l = c.take<float>(padded);
        s = c.take<float>(rows_per_tile * key_block);
        alpha = c.take<float>(rows_per_tile);
        row = c.take<QueryRow>(padded);
        bits = c.take<std::uint64_t>(rows_per_tile * words_per_block);
        const bool widens = widens_keys(kv) || kv.v.dtype == Dtype::codes;
        decoded_rows = c.take<const std::byte*>(widens ? key_block : 0);
        decoded_stride = round_up(kv.tied, most_lanes) + round_up(std::max(kv.k.dim, dim_v), most_lanes);
        decoded = c.take<float>(widens ? (key_block + 2) * decoded_stride : 0);
    }
};

}  // namespace attention

ATTENTA_END
