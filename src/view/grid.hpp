// Queries and keys in tiles: what a page holds of a long context.
#pragma once

#include <algorithm>
#include <cstdint>

namespace view {

/// Tiles of tile_queries × tile_keys pairs, of which those at the end may be smaller.
struct Grid {
    std::int64_t queries = 0, keys = 0, tile_queries = 1, tile_keys = 1;

    /// With at most `most` tiles on a side. All sizes are at least 1.
    static Grid of(std::int64_t queries, std::int64_t keys, std::int64_t most) {
        return {queries, keys, parts(queries, most), parts(keys, most)};
    }

    std::int64_t rows() const { return parts(queries, tile_queries); }
    std::int64_t cols() const { return parts(keys, tile_keys); }
    std::int64_t tiles() const { return rows() * cols(); }
    std::int64_t queries_of(std::int64_t row) const { return std::min(tile_queries, queries - row * tile_queries); }
    std::int64_t keys_of(std::int64_t col) const { return std::min(tile_keys, keys - col * tile_keys); }
    /// A tile is a pair.
    bool exact() const { return tile_queries == 1 && tile_keys == 1; }

private:
    static std::int64_t parts(std::int64_t n, std::int64_t of) { return n / of + (n % of != 0); }
};

}  // namespace view
