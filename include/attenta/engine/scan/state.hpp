// The state: from the caller's memory into panels, its update behind a chunk, and back. See loop.hpp.
#pragma once

#include <attenta/engine/scan/channels.hpp>
#include <attenta/engine/scan/decays.hpp>
#include <attenta/engine/scan/prefetch.hpp>
#include <attenta/engine/scan/rows.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

/// Channels begin .. end - 1.
template <class Arch>
void load_state(const Chunk<Arch>& c, std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = 0; p < c.panels; ++p) {
        float* const panel = c.state_panel(p);
        for (std::int64_t d = begin; d < end; ++d)
            load_columns(c, c.job.state->of(c.head) + d * c.job.dim_v + c.column, p, 1.f, panel + d * c.W);
        std::fill(panel + end * c.W, panel + round_up(end, c.R) * c.W, 0.f);
    }
}

template <class Arch>
void store_state(const Chunk<Arch>& c, std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = 0; p < c.panels; ++p)
        for (std::int64_t d = begin; d < end; ++d)
            std::copy_n(c.state_panel(p) + d * c.W, std::min(c.W, c.columns - p * c.W),
                        c.job.state->of(c.head) + d * c.job.dim_v + c.column + p * c.W);
}

/// Before the first chunk of a head.
template <class Arch>
inline void begin_head_state(const Chunk<Arch>& c) {
    if (!c.in_place) load_state(c, 0, c.dim);
    if (!c.r.normalizer) return;
    std::copy_n(c.job.state->normalizer.data() + c.head * c.dim, c.dim, c.scratch.normalizer);
    std::fill(c.scratch.normalizer + c.dim, c.scratch.normalizer + c.stride, 0.f);
}

/// Behind the last chunk of a head.
template <class Arch>
inline void end_head_state(const Chunk<Arch>& c) {
    if (!c.in_place) store_state(c, 0, c.dim);
    if (c.r.normalizer && c.column == 0) std::copy_n(c.scratch.normalizer, c.dim, c.job.normalizers + c.head * c.dim);
}

/// A sum of outer products Σ_s rows_s values_sᵀ.
struct Outer {
    const float *rows, *values;  ///< decayed to the chunk's end; b-panels
};

/// S = decay of the chunk · S + all outer products. Packed rows are update_a_panels, others [token][channel]. Their
/// kind and number are known to the compiler: one function for all made prefill 4 % slower.
template <bool Packed, int Products, class Arch>
void add_outer(Chunk<Arch>& c, const Outer (&products)[Products]) {
    constexpr std::int64_t L = Chunk<Arch>::L, W = Chunk<Arch>::W;
    for (std::int64_t p = 0; p < c.panels; ++p)
        for (std::int64_t d = 0; d < c.dim; d += c.R) {
            typename Chunk<Arch>::Tile tile;
            tile.zero();
            for (const Outer& x : products)
                add_and_prefetch(c, tile, x.rows + (Packed ? d / L * L * c.n + d % L : d), Packed ? L : c.stride,
                                 x.values + p * chunk * W, c.n);
            float* const state = c.state_panel(p) + d * W;
            if (c.task.pass != Pass::chunk_states) tile.add_scaled(c.scratch.chunk_decay + d, state, W);
            tile.store(state, W);
        }
}

template <class Arch>
void update_by_channel(Chunk<Arch>& c) {
    const Scratch& x = c.scratch;
    if (c.prefix || (!c.span.queries && !c.corrects()))
        for (std::size_t set = 0; set < number_of_key_sets(c); ++set) decay_keys_alone(c, key_sets(c)[set]);
    if (c.low_rank())
        add_outer<false>(c, {{x.decayed_k, x.v}, {x.decayed_b, x.v_new}});
    else
        add_outer<false>(c, {{x.decayed_k, c.added}});
}

/// Keys decayed to the chunk's end.
template <class Arch>
void pack_update(const Chunk<Arch>& c) {
    for (std::int64_t s = 0; s < c.n; ++s) {
        const simd::Batch<Arch> f(decay_to_end(c, s));
        for (std::int64_t d = 0; d < c.stride; d += c.L)
            (simd::load<Arch>(c.k[s] + d) * f).store_unaligned(c.scratch.update_a_panels + d * c.n + s * c.L);
    }
}

template <class Arch>
void update_normalizer(const Chunk<Arch>& c) {
    using Batch = simd::Batch<Arch>;
    float* const z = c.scratch.normalizer;
    for (std::int64_t d = 0; d < c.stride; d += c.L) {
        Batch sum(0.f);
        for (std::int64_t s = 0; s < c.n; ++s)
            sum = simd::fma<Arch>(Batch(decay_to_end(c, s)), simd::load<Arch>(c.k[s] + d), sum);
        if (c.task.pass != Pass::chunk_states)
            sum = simd::fma<Arch>(Batch(decay_of_chunk(c)), simd::load<Arch>(z + d), sum);
        sum.store_unaligned(z + d);
    }
}

template <class Arch>
void update_state(Chunk<Arch>& c) {
    if (c.by_channel) return update_by_channel(c);
    const Scratch& x = c.scratch;
    std::fill_n(x.chunk_decay, c.stride, decay_of_chunk(c));
    if (!c.r.g.data && c.k.first == x.k) {  // nothing decays: keys serve as they are
        add_outer<false>(c, {{x.k, c.added}});
    } else {
        pack_update(c);
        add_outer<true>(c, {{x.update_a_panels, c.added}});
    }
    if (c.r.normalizer) update_normalizer(c);
}

}  // namespace scan

ATTENTA_END
