// Sizes and scratch of the few-query loop's tasks, the same for every instruction set.
#pragma once

#include <attenta/engine/attention/job.hpp>
#include <attenta/engine/common/arena.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace attention {

/// Rows of a head are padded to the next power of two, so that vectors hold whole heads.
constexpr std::int64_t padded_rows(std::int64_t rows) {
    std::int64_t p = 1;
    while (p < rows) p *= 2;
    return p;
}

/// K and V of the sequence are more than a cache holds.
inline bool come_from_memory(const FewTuning& tuning, const KvView& kv, std::int64_t sequence) {
    return kv.length(sequence) * kv.heads * (kv.k.row_bytes() + kv.v.row_bytes()) > tuning.cache_bytes;
}

struct FewScratch {
    static constexpr std::int64_t most_lanes = 16, most_heads = 8, most_keys = 8, run_blocks = 4;
    static constexpr std::int64_t most_decoded = 32;  ///< rows that are widened together
    const std::byte **k_located, **v_located, **k_rows, **v_rows, **reading_order, **decoded_rows;
    std::int32_t *places, *positions;
    float *q, *o, *s, *m, *l, *alpha, *edit, *widened, *decoded;
    QueryRow* row;
    std::int64_t decoded_stride;

    /// The first two rows hold scales of channels.
    float* decoded_row(std::int64_t i) const { return decoded + (2 + i) * decoded_stride; }

    /// `rows`: padded rows of a head.
    FewScratch(Arena& c, const KvView& kv, std::int64_t heads, std::int64_t rows) {
        const std::int64_t dim = kv.key_dim(), dim_v = kv.v.dim;
        const std::int64_t in_flight = std::min({heads, most_heads}), width = std::max({rows, most_lanes});
        const std::int64_t blocks = std::max(in_flight, run_blocks), run = run_blocks * rows_block;
        k_located = c.take<const std::byte*>(run);
        v_located = c.take<const std::byte*>(run);
        k_rows = c.take<const std::byte*>(run + most_lanes);
        v_rows = c.take<const std::byte*>(run);
        reading_order = c.take<const std::byte*>(blocks * (3 * rows_block + most_lanes));
        places = c.take<std::int32_t>(run);
        positions = c.take<std::int32_t>(run);
        q = c.take<float>(heads * rows * round_up(dim, most_lanes));
        o = c.take<float>(heads * rows * round_up(dim_v, most_lanes));
        s = c.take<float>(blocks * (rows_block * rows + width));
        m = c.take<float>(heads * width);
        l = c.take<float>(heads * width);
        alpha = c.take<float>(in_flight * width);
        edit = c.take<float>(width * rows_block);
        widened = c.take<float>(most_keys * round_up(dim, most_lanes));
        row = c.take<QueryRow>(heads * rows);
        const bool widens = widens_keys(kv) || kv.v.dtype == Dtype::codes;
        decoded_rows = c.take<const std::byte*>(widens ? most_decoded + most_lanes : 0);
        decoded_stride = round_up(kv.tied, most_lanes) + round_up(std::max(kv.k.dim, dim_v), most_lanes);
        decoded = c.take<float>(widens ? (most_decoded + 2) * decoded_stride : 0);
    }
};

}  // namespace attention

ATTENTA_END
