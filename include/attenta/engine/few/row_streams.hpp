// Rows of K and V as the few-query loop reads them, and which of them it prefetches meanwhile.
#pragma once

#include <attenta/engine/few/scratch.hpp>
#include <attenta/simd/prefetch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace attention {

/// Rows of K or V of a head. Kernels get the table of rows and the offset: addresses that were stored a moment ago would
/// have to wait for everything before them, and the next loads with them.
struct RowStream {
    const std::byte* const* rows = nullptr;
    std::int64_t tokens = 0, offset = 0;
    bool prefetch_to_l1 = false;  ///< prefetches bring them to L1, not L2
    const std::byte* row(std::int64_t t) const { return rows[t] + offset; }
    /// Up to n rows of `bytes` bytes from token t on.
    simd::PrefetchQueue prefetch_queue(std::int64_t t, std::int64_t n, std::int64_t bytes) const {
        return {rows + t, rows + t + std::clamp<std::int64_t>(tokens - t, 0, n), offset, bytes, prefetch_to_l1};
    }
};

/// A pass over the rows of interleaved heads, an interleave step of `step` tokens of each after the other. A row is
/// prefetched `steps_ahead` of these steps before its own: behind the end of the pass for rows of the next one (the values
/// after the keys, the next heads' keys after the values).
struct RowPass {
    RowStream now[FewScratch::most_heads], after[FewScratch::most_heads];
    std::int64_t heads, step, steps_ahead, row_bytes;

    /// What to prefetch while n tokens of `head` from t on are at hand.
    ATTENTA_ALWAYS_INLINE simd::PrefetchQueue prefetch_queue(std::int64_t head, std::int64_t t, std::int64_t n) const {
        if (steps_ahead == 0) return {};
        head += steps_ahead;
        for (; head >= heads; head -= heads) t += step;
        const std::int64_t count = now[0].tokens;
        return t < count ? now[head].prefetch_queue(t, n, row_bytes)
                         : after[head].prefetch_queue(t - count, n, row_bytes);
    }
};

}  // namespace attention

ATTENTA_END
