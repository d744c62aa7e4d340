// Rows of K and V as the rows loop reads them, and which of them to ask memory for meanwhile.
#pragma once

#include <attenta/engine/tile/scratch.hpp>
#include <attenta/simd/later.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace tile {

/// Bytes between the request for a row and its use: less comes late, more is lost before its use.
inline constexpr std::int64_t bytes_ahead = 8192;

/// Rows of K or V of a head. Kernels get the table of rows and the offset: addresses that were stored a moment ago would
/// have to wait for everything before them, and the next loads with them.
struct RowStream {
    const std::byte* const* rows = nullptr;
    std::int64_t tokens = 0, offset = 0;
    bool into_l1 = false;  ///< requests bring them to L1, not L2
    const std::byte* row(std::int64_t t) const { return rows[t] + offset; }
    /// Up to n rows of `bytes` bytes from token t on.
    simd::LaterRows later(std::int64_t t, std::int64_t n, std::int64_t bytes) const {
        return {rows + t, rows + t + std::clamp<std::int64_t>(tokens - t, 0, n), offset, bytes, into_l1};
    }
};

/// A pass over the rows of a bundle's heads, which take turns of `step` tokens. Memory is asked for a row some turns
/// before its own: behind the end of the pass for rows of the next one (the values after the keys, the next heads' keys
/// after the values).
struct RowPass {
    RowStream now[RowsScratch::most_heads], after[RowsScratch::most_heads];
    std::int64_t heads, step, turns;

    /// What to ask for while `head` takes its turn of n tokens at t.
    ATTENTA_ALWAYS_INLINE simd::LaterRows later(std::int64_t head, std::int64_t t, std::int64_t n,
                                                std::int64_t bytes) const {
        if (turns == 0) return {};
        head += turns;
        for (; head >= heads; head -= heads) t += step;
        const std::int64_t count = now[0].tokens;
        return t < count ? now[head].later(t, n, bytes) : after[head].later(t - count, n, bytes);
    }
};

}  // namespace tile

ATTENTA_END
