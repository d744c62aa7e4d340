// Outputs of one query head. See loop.hpp.
#pragma once

#include <attenta/engine/scan/correction.hpp>
#include <attenta/engine/scan/products.hpp>
#include <attenta/engine/scan/rows.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

/// Products of queries and keys with one decay for all channels. Heads that share both share them.
template <class Arch>
void plain_output_products(Chunk<Arch>& c, bool new_keys) {
    const Scratch& x = c.scratch;
    const bool in_memory = c.q.first != x.q && c.k.first != x.k;
    if (!in_memory || c.q.first != c.product_q || (c.span.keys && c.k.first != c.product_k)) {
        pack_a_panels(c, c.q, c.n, x.query_a_panels);
        if (c.span.keys && new_keys) pack_keys(c);
        if (c.span.keys) undecayed_products(c, x.query_a_panels, x.undecayed_qk);
        if (c.span.keys && c.r.polynomial.channels > 0) complete_polynomials(c, x.undecayed_qk);
        c.product_q = c.q.first;
        c.product_k = c.span.keys ? c.k.first : nullptr;
    }
    if (c.span.keys) decay_products(c, x.undecayed_qk, false, x.qk);
}

template <class Arch>
void channel_output_products(const Chunk<Arch>& c) {
    const Scratch& x = c.scratch;
    const QuerySet queries{c.q, c.r.read_before, x.query_a_panels, {x.qk, x.qb}};
    channel_products<Arch>(c, {&queries, 1}, {key_sets(c).data(), number_of_key_sets(c)});
    if (!c.r.read_before) return;
    const float* const u = c.row(c.r.u, 0);
    for (std::int64_t t = 0; t < c.n; ++t) x.qk[t * chunk + t] = bonus_weight(c, c.q[t], u, c.k[t]);
}

/// Queries of output head i of the group, packed, and their products with the chunk's keys.
template <class Arch>
void output_products(Chunk<Arch>& c, std::int64_t i) {
    if (c.by_channel && c.corrects() && i == 0) return;  // they were made with those of the correction
    load_queries(c, i);
    if (c.span.keys && c.by_channel)
        channel_output_products(c);
    else
        plain_output_products(c, i == 0 && !c.corrects());
}

/// Sum of the weights of row t: of the state's keys and of the chunk's.
template <class Arch>
float weight_sum(const Chunk<Arch>& c, std::int64_t t) {
    const Scratch& x = c.scratch;
    if (!c.r.normalizer) return 0;
    float rest = 0;
    simd::Batch<Arch> sum = partial_dot(c, c.q[t], x.normalizer, rest);
    if (c.span.keys) {
        sum = sum * simd::Batch<Arch>(x.from_start[t]);
        rest *= x.from_start[t];
        for (std::int64_t s = 0; s <= t; s += c.L) sum = sum + simd::load<Arch>(x.qk + t * chunk + s);  // 0 behind t
    }
    return simd::reduce_add<Arch>(sum) + rest;
}

template <class Arch>
void output_scales(const Chunk<Arch>& c, std::int64_t out_head) {
    const Finish& finish = c.r.finish;
    for (std::int64_t t = 0; t < c.n; ++t) {
        c.scratch.output_scale[t] = c.r.scale;
        if (finish.factor)
            c.scratch.output_scale[t] *= finish.factor(finish.parameters, out_head, c.span.query_begin + t,
                                                       weight_sum(c, t), c.scratch.query_log[t]);
    }
}

/// Writes a panel's columns of rows i .. i + rows - 1, N at most: sums over the state and tokens below `depth`.
/// Returns whether they are finite.
template <int N, class Arch>
bool write_rows(Chunk<Arch>& c, std::int64_t out_head, std::int64_t panel, std::int64_t i, std::int64_t rows,
                std::int64_t depth) {
    constexpr std::int64_t L = Chunk<Arch>::L, W = Chunk<Arch>::W;
    const Scratch& x = c.scratch;
    simd::RegisterTile<Arch, N, Chunk<Arch>::vectors> tile;
    tile.zero();
    add_and_prefetch(c, tile, a_panel_row(c, x.query_a_panels, i), L, c.state_panel(panel), c.dim);
    if (c.span.keys) {
        const float *const v = x.v + panel * chunk * W, *const added = c.added + panel * chunk * W;
        if (!c.by_channel) tile.scale(x.from_start + i);
        tile.template add<chunk>(x.qk + i * chunk, 1, c.low_rank() ? v : added, W, depth);
        if (c.low_rank()) tile.template add<chunk>(x.qb + i * chunk, 1, added, W, depth);
    }
    const std::int64_t columns = std::min(W, c.columns - panel * W);
    const auto to = [&](std::int64_t t) {
        return c.job.o.row(out_head, c.span.query_begin + i + t) + c.column + panel * W;
    };
    if (rows == N && columns == W) return tile.finish(x.output_scale + i, to);
    tile.store(x.output_tile, W);
    bool finite = true;
    for (std::int64_t t = 0; t < rows; ++t)
        finite = simd::finish_row<Arch>(to(t), x.output_tile + t * W, columns, x.output_scale[i + t]) && finite;
    return finite;
}

/// Outputs of head i of the group.
template <class Arch>
void write_outputs(Chunk<Arch>& c, std::int64_t of_group) {
    constexpr std::int64_t R = Chunk<Arch>::R;
    const std::int64_t out_head = c.head * c.group() + of_group;
    output_products(c, of_group);
    output_scales(c, out_head);
    for (std::int64_t p = 0; p < c.panels; ++p)
        for (std::int64_t i = 0; i < c.n; i += R) {
            const std::int64_t rows = std::min(R, c.n - i);
            if (write_rows<Chunk<Arch>::R>(c, out_head, p, i, rows, i + rows)) continue;
            // A NaN or infinity of a later row of the tile met a weight of zero, or is a row's true result: each row
            // with what it sees alone.
            for (std::int64_t t = i; t < i + rows; ++t) write_rows<1>(c, out_head, p, t, 1, t + 1);
        }
}

}  // namespace scan

ATTENTA_END
