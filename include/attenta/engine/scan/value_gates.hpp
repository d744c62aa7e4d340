// Chunks whose value channels have gates of their own, S diag(exp gv): weights P are the plain ones, and what they meet
// decays column by column. With h_t = product of exp(gv) over a tile's rows up to t, and everything before the tile decayed
// to its first row:
//     o_t = h_t ⊙ [ (q_t E_t) S0 + Σ_{s before the tile} P_ts v'_s ] + Σ_{s in the tile, s <= t} P_ts v'_s ⊙ h_t / h_s
// the last sum pair by pair, v'_s decaying on its way down. See loop.hpp.
#pragma once

#include <attenta/engine/scan/output.hpp>
#include <attenta/engine/scan/state.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

/// exp(gv) of every token, and of the whole chunk the exponential of the sum.
template <class Arch>
void load_value_gates(const Chunk<Arch>& c) {
    constexpr std::int64_t W = Chunk<Arch>::W;
    const Scratch& x = c.scratch;
    for (std::int64_t p = 0; p < c.panels; ++p) {
        double sums[static_cast<std::size_t>(W)] = {};
        for (std::int64_t t = 0; t < c.n; ++t) {
            float* const gates = x.value_decay + (p * chunk + t) * W;
            load_columns(c, c.row(c.r.gv, c.span.begin + t) + c.column, p, 1.f, gates);
            for (std::int64_t e = 0; e < W; ++e) sums[e] += static_cast<double>(gates[e]);
            map_exp<Arch>(gates, gates, W);
        }
        float* const whole = x.value_chunk_decay + p * W;
        for (std::int64_t e = 0; e < W; ++e) whole[e] = static_cast<float>(std::max(sums[e], -104.));
        map_exp<Arch>(whole, whole, W);
    }
}

/// The tile's rows and what stands before it: a vector of columns from the tile's first row to behind its last.
template <class Arch>
ATTENTA_ALWAYS_INLINE void finish_tile(const Chunk<Arch>& c, const float* gates, float* values, float* before,
                                       float* tile, std::int64_t i, std::int64_t rows) {
    constexpr std::int64_t W = Chunk<Arch>::W;
    using Batch = simd::Batch<Arch>;
    const float* const products = c.scratch.qk + i * chunk + i;
    Batch carry(1.f), value[static_cast<std::size_t>(Chunk<Arch>::R)];
    for (std::int64_t t = 0; t < rows; ++t) {
        const Batch gate = simd::load<Arch>(gates + (i + t) * W);
        carry = carry * gate;
        for (std::int64_t s = 0; s < t; ++s) value[s] = value[s] * gate;
        value[t] = simd::load<Arch>(values + (i + t) * W);
        Batch sum = simd::load<Arch>(tile + t * W) * carry;
        for (std::int64_t s = 0; s <= t; ++s) sum = simd::fma<Arch>(Batch(products[t * chunk + s]), value[s], sum);
        sum.store_unaligned(tile + t * W);
    }
    for (std::int64_t s = 0; s < i; ++s) (simd::load<Arch>(values + s * W) * carry).store_unaligned(values + s * W);
    for (std::int64_t s = 0; s < rows; ++s) value[s].store_unaligned(values + (i + s) * W);
    (simd::load<Arch>(before) * carry).store_unaligned(before);
}

/// A panel's columns of the outputs of head i of the group. A row meets no weight of a later token.
template <class Arch>
void write_gated_panel(Chunk<Arch>& c, std::int64_t out_head, std::int64_t panel) {
    constexpr std::int64_t L = Chunk<Arch>::L, W = Chunk<Arch>::W, R = Chunk<Arch>::R;
    const Scratch& x = c.scratch;
    const float* const gates = x.value_decay + panel * chunk * W;
    float* const values = x.gated_values + panel * chunk * W;
    float before[static_cast<std::size_t>(W)];  // decay from the chunk's start to the tile
    std::fill_n(before, W, 1.f);
    std::copy_n(x.v + panel * chunk * W, c.n * W, values);
    for (std::int64_t i = 0; i < c.n; i += R) {
        const std::int64_t rows = std::min(R, c.n - i);
        typename Chunk<Arch>::Tile tile;
        tile.zero();
        add_and_prefetch(c, tile, a_panel_row(c, x.query_a_panels, i), L, c.state_panel(panel), c.dim);
        if (!c.by_channel) tile.scale(x.from_start + i);
        tile.store(x.output_tile, W);
        for (std::int64_t t = 0; t < rows; ++t) simd::multiply_row<Arch>(x.output_tile + t * W, before, W);
        tile.load(x.output_tile, W);
        tile.template add<chunk>(x.qk + i * chunk, 1, values, W, i);
        tile.store(x.output_tile, W);
        for (std::int64_t e = 0; e < W; e += L)
            finish_tile(c, gates + e, values + e, before + e, x.output_tile + e, i, rows);
        for (std::int64_t t = 0; t < rows; ++t)
            simd::finish_row<Arch>(c.job.o.row(out_head, c.span.query_begin + i + t) + c.column + panel * W,
                                   x.output_tile + t * W, std::min(W, c.columns - panel * W), x.output_scale[i + t]);
    }
}

template <class Arch>
void write_gated_outputs(Chunk<Arch>& c, std::int64_t of_group) {
    const std::int64_t out_head = c.head * c.group() + of_group;
    output_products(c, of_group);
    output_scales(c, out_head);
    for (std::int64_t p = 0; p < c.panels; ++p) write_gated_panel(c, out_head, p);
}

/// The values and the old state, decayed to the chunk's end.
template <class Arch>
void decay_values(const Chunk<Arch>& c) {
    constexpr std::int64_t L = Chunk<Arch>::L, W = Chunk<Arch>::W;
    const Scratch& x = c.scratch;
    for (std::int64_t p = 0; p < c.panels; ++p)
        for (std::int64_t e = 0; e < W; e += L) {
            simd::Batch<Arch> decay(1.f);
            for (std::int64_t s = c.n - 1; s >= 0; --s) {
                const std::int64_t at = (p * chunk + s) * W + e;
                (simd::load<Arch>(x.v + at) * decay).store_unaligned(x.gated_values + at);
                decay = decay * simd::load<Arch>(x.value_decay + at);
            }
            const simd::Batch<Arch> whole = simd::load<Arch>(x.value_chunk_decay + p * W + e);
            float* const state = c.state_panel(p) + e;
            for (std::int64_t d = 0; d < c.dim; ++d)
                (simd::load<Arch>(state + d * W) * whole).store_unaligned(state + d * W);
        }
}

}  // namespace scan

ATTENTA_END
