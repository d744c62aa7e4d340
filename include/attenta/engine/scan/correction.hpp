// What the chunk really adds where updates depend on the state, as in the delta rules' WY representation:
//     delta       V' = (I + B tril(P Kᵀ))⁻¹ B (V − P S0)           B = diag(beta), rows of P predict: K or others
//     low_rank    V' = (I − tril(A Bᵀ))⁻¹ (A S0 + tril(A Kᵀ) V)    beside V itself
// Products include the decays between their tokens, products with S0 those from the chunk's start, the row's own decay
// only where the prediction is made behind it. See loop.hpp.
#pragma once

#include <attenta/engine/scan/channels.hpp>
#include <attenta/engine/scan/prefetch.hpp>
#include <attenta/engine/scan/products.hpp>
#include <attenta/engine/scan/rows.hpp>

#include <algorithm>
#include <cstdint>
#include <span>

ATTENTA_BEGIN

namespace scan {

/// Products by channel. The first query head comes along: it shares the decays.
template <class Arch>
void correction_by_channel(Chunk<Arch>& c) {
    const Scratch& x = c.scratch;
    if (c.span.queries) load_queries(c, 0);
    const QuerySet own = c.low_rank() ? QuerySet{c.a, true, x.correction_a_panels, {x.ak, x.ab}}
                                      : QuerySet{c.a, c.r.predict_before, x.correction_a_panels, {x.ab}},
                   queries[] = {own, {c.q, false, x.query_a_panels, {x.qk, x.qb}}};
    channel_products<Arch>(c, {queries, c.span.queries ? std::size_t{2} : std::size_t{1}},
                           {key_sets(c).data(), number_of_key_sets(c)});
}

/// −beta times the products of rows that predict and keys.
template <class Arch>
void scale_by_beta(const Chunk<Arch>& c, float* products) {
    for (std::int64_t t = 0; t < c.n; ++t) {
        const simd::Batch<Arch> factor(-c.beta(c.span.begin + t));
        for (std::int64_t s = 0; s < t; s += c.L)
            (simd::load<Arch>(products + t * chunk + s) * factor).store_unaligned(products + t * chunk + s);
    }
}

/// Decay of the state that row t's prediction is made with, where decays do not differ by channel.
template <class Arch>
float decay_of_prediction(const Chunk<Arch>& c, std::int64_t t) {
    if (!c.r.predict_before) return c.scratch.from_start[t];
    return t > 0 ? c.scratch.from_start[t - 1] : 1.f;
}

/// v' = beta (v − P S0) of the rows from i on, with P S0 in v'.
template <class Arch>
void subtract_prediction(const Chunk<Arch>& c, std::int64_t i, const float* v, float* v_new) {
    using Batch = simd::Batch<Arch>;
    const std::int64_t rows = std::min<std::int64_t>(c.R, c.n - i);
    for (std::int64_t t = 0; t < rows; ++t) {
        const Batch b(c.beta(c.span.begin + i + t)), e(c.by_channel ? 1.f : decay_of_prediction(c, i + t));
        for (std::int64_t n = t * c.W; n < (t + 1) * c.W; n += c.L)
            (b * (simd::load<Arch>(v + n) - e * simd::load<Arch>(v_new + n))).store_unaligned(v_new + n);
    }
}

/// Rows from i on, those before being solved.
template <class Arch>
void solve_tile(Chunk<Arch>& c, std::int64_t panel, std::int64_t i) {
    constexpr std::int64_t L = Chunk<Arch>::L, W = Chunk<Arch>::W;
    const Scratch& x = c.scratch;
    const float *const solved = x.v_new + panel * chunk * W, *const v = x.v + panel * chunk * W;
    float* const v_new = x.v_new + (panel * chunk + i) * W;
    typename Chunk<Arch>::Tile tile;
    tile.zero();
    add_and_prefetch(c, tile, a_panel_row(c, x.correction_a_panels, i), L, c.state_panel(panel), c.dim);
    if (c.low_rank()) {
        tile.template add<chunk>(x.ak + i * chunk, 1, v, W, i);
        tile.template add_below<chunk>(x.ak + i * chunk + i, v + i * W, W);
    } else {
        tile.store(v_new, W);
        subtract_prediction(c, i, v + i * W, v_new);
        tile.load(v_new, W);
    }
    tile.template add<chunk>(x.ab + i * chunk, 1, solved, W, i);
    tile.template substitute<chunk>(x.ab + i * chunk + i);
    tile.store(v_new, W);
}

/// The solved rows, to the mechanism.
template <class Arch>
void give_added(const Chunk<Arch>& c) {
    for (std::int64_t t = 0; t < c.n; ++t)
        for (std::int64_t p = 0; p < c.panels; ++p)
            std::copy_n(c.scratch.v_new + (p * chunk + t) * c.W, std::min(c.W, c.columns - p * c.W),
                        c.r.added.row(c.head, c.span.begin + t) + c.column + p * c.W);
}

template <class Arch>
void correct(Chunk<Arch>& c) {
    const Scratch& x = c.scratch;
    if (c.by_channel) {
        correction_by_channel(c);
    } else {
        pack_a_panels(c, c.a, c.n, x.correction_a_panels);
        pack_keys(c);
        undecayed_products(c, x.correction_a_panels, x.ab);
        decay_products(c, x.ab, true, x.ab, c.r.predict_before);
    }
    if (!c.low_rank()) scale_by_beta(c, x.ab);
    for (std::int64_t p = 0; p < c.panels; ++p)
        for (std::int64_t i = 0; i < c.n; i += c.R) solve_tile(c, p, i);
    if (c.r.added.data) give_added(c);
}

}  // namespace scan

ATTENTA_END
