// Numbers of rows, tokens and lanes that the few-query loop is compiled with.
#pragma once

#include <attenta/engine/common/tuning.hpp>
#include <attenta/engine/few/scratch.hpp>
#include <attenta/simd/arch.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace attention {

/// `Rows`: the query rows of a head, padded to a power of two.
template <class Arch, int Rows>
struct FewShape {
    static constexpr std::int64_t L = simd::lanes<Arch>;
    static constexpr std::int64_t width = std::max<std::int64_t>(L, Rows);  ///< lanes of a head's statistics
    static constexpr std::int64_t s_stride =
        rows_block * Rows + FewScratch::most_lanes;  ///< scores of a head and block

    static constexpr bool dots = Rows <= most_dot_rows;
    /// Rows and tokens of one vector of dot products: at least two tokens, so that a query is loaded for more than one.
    static constexpr int dot_part = std::min<int>(Rows, static_cast<int>(L) / 2);
    static constexpr int tile_keys = score_tile_keys(simd::TileShape<Arch>::rows);
    static_assert(tile_keys <= FewScratch::most_keys);
    static constexpr std::int64_t score_tokens = dots ? L / dot_part : tile_keys;  ///< at a time
    /// Tokens of a head at a time: as many rows of queries or outputs come from and go to L1 as rows of keys or values.
    static constexpr std::int64_t score_step = dots ? std::max<std::int64_t>(score_tokens, Rows) : score_tokens;

    /// With more rows or fewer registers, reading whole rows is a matter of arithmetic.
    static constexpr bool whole_rows_possible = Rows <= most_dot_rows && L == 16;
};

}  // namespace attention

ATTENTA_END
