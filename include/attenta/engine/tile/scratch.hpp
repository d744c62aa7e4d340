// Sizes and scratch of the tile engine's tasks, the same for every instruction set.
#pragma once

#include <attenta/engine/tile.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace tile {

inline constexpr std::int64_t words_per_block = key_block / 64;
inline constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

/// n / of, rounded up.
constexpr std::int64_t ceil_div(std::int64_t n, std::int64_t of) { return (n + of - 1) / of; }
constexpr std::int64_t round_up(std::int64_t n, std::int64_t to) { return ceil_div(n, to) * to; }

/// Query rows that share one packing of K and V: so many that packing costs little and their state still sits in L2.
constexpr std::int64_t rows_per_task(std::int64_t dim, std::int64_t dim_v) {
    constexpr std::int64_t bytes = 768 << 10;
    return std::clamp<std::int64_t>(bytes / (4 * (dim + dim_v)) / 96 * 96, 96, 1536);
}

/// Carves arrays out of a slot's scratch; with null memory it only counts.
class Arena {
public:
    explicit Arena(std::byte* memory) : memory_(memory) {}
    template <class T>
    T* take(std::int64_t n) {
        const std::int64_t at = used_;
        used_ += round_up(n * static_cast<std::int64_t>(sizeof(T)), 64);
        return memory_ ? reinterpret_cast<T*>(memory_ + at) : nullptr;
    }
    std::int64_t used() const { return used_; }

private:
    std::byte* memory_;
    std::int64_t used_ = 0;
};

/// Scratch of a task, sized for the widest instruction set.
struct TileScratch {
    static constexpr std::int64_t most_lanes = 16, most_rows = 12, rows_per_tile = 96;
    const std::byte **k_rows, **v_rows, **k_next, **v_next;
    float *k, *v, *q, *o, *m, *l, *s, *alpha;
    QueryRow* row;
    std::uint64_t* bits;

    TileScratch(Arena& c, std::int64_t dim, std::int64_t dim_v, std::int64_t rows) {
        const std::int64_t padded = round_up(rows, most_rows);
        k_rows = c.take<const std::byte*>(key_block);
        v_rows = c.take<const std::byte*>(key_block);
        k_next = c.take<const std::byte*>(key_block);
        v_next = c.take<const std::byte*>(key_block);
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
    }
};

/// Rows of a head are padded to the next power of two, so that vectors hold whole heads.
constexpr std::int64_t padded_rows(std::int64_t rows) {
    std::int64_t p = 1;
    while (p < rows) p *= 2;
    return p;
}

/// K and V of the sequence are more than a cache holds.
inline bool come_from_memory(const KvView& kv, std::int64_t sequence) {
    constexpr std::int64_t cache_bytes = 16 << 20;
    return kv.length(sequence) * kv.heads * (kv.k.row_bytes() + kv.v.row_bytes()) > cache_bytes;
}

struct RowsScratch {
    static constexpr std::int64_t most_lanes = 16, most_heads = 8, most_keys = 8, run_blocks = 4;
    const std::byte **k_located, **v_located, **k_rows, **v_rows, **visits;
    std::int32_t* places;
    float *q, *o, *s, *m, *l, *alpha, *edit, *widened;
    QueryRow* row;

    /// `rows`: padded rows of a head.
    RowsScratch(Arena& c, std::int64_t dim, std::int64_t dim_v, std::int64_t heads, std::int64_t rows) {
        const std::int64_t in_flight = std::min({heads, most_heads}), width = std::max({rows, most_lanes});
        const std::int64_t blocks = std::max(in_flight, run_blocks), run = run_blocks * rows_block;
        k_located = c.take<const std::byte*>(run);
        v_located = c.take<const std::byte*>(run);
        k_rows = c.take<const std::byte*>(run + most_lanes);
        v_rows = c.take<const std::byte*>(run);
        visits = c.take<const std::byte*>(blocks * (3 * rows_block + most_lanes));
        places = c.take<std::int32_t>(run);
        q = c.take<float>(heads * rows * round_up(dim, most_lanes));
        o = c.take<float>(heads * rows * round_up(dim_v, most_lanes));
        s = c.take<float>(blocks * (rows_block * rows + width));
        m = c.take<float>(heads * width);
        l = c.take<float>(heads * width);
        alpha = c.take<float>(in_flight * width);
        edit = c.take<float>(width * rows_block);
        widened = c.take<float>(most_keys * round_up(dim, most_lanes));
        row = c.take<QueryRow>(heads * rows);
    }
};

}  // namespace tile

ATTENTA_END
