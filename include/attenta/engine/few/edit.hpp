// Score edits and masks in the few-query loop: they work on row-major tiles, so scores go there and back.
#pragma once

#include <attenta/engine/few/row_table.hpp>
#include <attenta/engine/few/task.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/simd/transpose.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace attention {

template <class Arch, int Rows>
void scores_by_row(const FewTask<Arch, Rows>& x, const HeadBlock& h, std::int64_t streams) {
    float* const tile = x.scratch.edit;
    if constexpr (FewShape<Arch, Rows>::dots) {
        for (std::int64_t r = 0; r < x.rows; ++r)
            for_tokens(h.keys.count, streams,
                       [&](std::int64_t i, std::int64_t token) { tile[r * rows_block + token] = h.s[i * Rows + r]; });
    } else {
        const std::int64_t part = h.keys.count / streams;
        for (std::int64_t i = 0; i < streams; ++i)
            simd::transpose_rows<Arch>(h.s + i * Rows, streams * Rows, part, x.rows, tile + i * part, rows_block);
    }
}

template <class Arch, int Rows>
void scores_by_token(const FewTask<Arch, Rows>& x, const HeadBlock& h, std::int64_t streams) {
    const float* const tile = x.scratch.edit;
    if constexpr (FewShape<Arch, Rows>::dots) {
        for (std::int64_t r = 0; r < x.rows; ++r)
            for_tokens(h.keys.count, streams,
                       [&](std::int64_t i, std::int64_t token) { h.s[i * Rows + r] = tile[r * rows_block + token]; });
    } else {
        const std::int64_t part = h.keys.count / streams;
        for (std::int64_t i = 0; i < streams; ++i)
            simd::transpose_rows<Arch>(tile + i * part, rows_block, x.rows, part, h.s + i * Rows, streams * Rows);
    }
}

/// Edits and masks a head's scores, which stand in the order of `streams` streams.
template <class Arch, int Rows>
void edit(const FewTask<Arch, Rows>& x, const HeadBlock& h, std::int64_t streams) {
    const Job& job = x.job;
    float* const tile = x.scratch.edit;
    const std::int64_t count = h.keys.count, end = round_up(count, simd::lanes<Arch>);
    scores_by_row(x, h, streams);
    // Edits work on whole vectors, and what older tasks have left there may be anything.
    for (std::int64_t r = 0; r < x.rows; ++r)
        std::fill(tile + r * rows_block + count, tile + r * rows_block + end, 0.f);
    for (std::int64_t e = 0; e < job.edit_count; ++e) {
        ScoreTile t{tile, rows_block, x.rows, h.row, h.keys};
        job.edits[e].function(job.edits[e].parameters, t);
    }
    for (std::int64_t r = 0; r < x.rows; ++r) {
        std::uint64_t words[rows_block / 64];
        std::fill_n(words, rows_block / 64, ~std::uint64_t{0});
        if (h.cover != Cover::all) job.mask.bits(h.row[r], h.keys, words);
        simd::mask_row<Arch>(tile + r * rows_block, 0, end, words);
    }
    scores_by_token(x, h, streams);
}

}  // namespace attention

ATTENTA_END
