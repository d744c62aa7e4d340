// Rows of K and V as the rows loop reads them, and which of them to ask memory for meanwhile.
#pragma once

#include <attenta/engine/tile_scratch.hpp>

#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace tile {

/// Rows of K or V of a head.
struct RowStream {
    const std::byte* const* rows = nullptr;
    std::int64_t tokens = 0, offset = 0;
    const std::byte* row(std::int64_t t) const { return rows[t] + offset; }
    const std::byte* row_or_null(std::int64_t t) const { return t < tokens ? row(t) : nullptr; }
};

/// A pass over the rows of a bundle's heads, which take turns of `step` tokens. Memory is asked for a row some turns
/// before its own: behind the end of the pass for rows of the next one (the values after the keys, the next heads' keys
/// after the values).
struct RowPass {
    RowStream now[RowsScratch::most_heads], after[RowsScratch::most_heads];
    std::int64_t heads, step, turns;

    struct Later {
        const RowStream* stream;
        std::int64_t token;
        const std::byte* row(std::int64_t u) const { return stream ? stream->row_or_null(token + u) : nullptr; }
    };
    /// What to ask for while `head` takes its turn at token t.
    ATTENTA_ALWAYS_INLINE Later later(std::int64_t head, std::int64_t t) const {
        if (turns == 0) return {nullptr, 0};
        head += turns;
        for (; head >= heads; head -= heads) t += step;
        const std::int64_t count = now[0].tokens;
        return t < count ? Later{&now[head], t} : Later{&after[head], t - count};
    }
};

}  // namespace tile

ATTENTA_END
