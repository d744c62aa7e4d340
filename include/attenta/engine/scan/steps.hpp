// Chunks of few tokens, token by token:
//     additive    S = e S + beta k vᵀ
//     delta       S = e S + beta k (v − (e S)ᵀ p)ᵀ, or with Sᵀ p
//     low_rank    S = e S + k vᵀ + b (Sᵀ a)ᵀ
// e is the token's decay; with gates of value channels S is S diag(exp gv) first. What takes arrays of batches
// is always inlined, as they live in registers; the rest is declared inline, as calls took 2 % of a decode step.
// See loop.hpp.
#pragma once

#include <attenta/engine/scan/decays.hpp>
#include <attenta/engine/scan/products.hpp>
#include <attenta/engine/scan/rows.hpp>
#include <attenta/engine/scan/snapshots.hpp>
#include <attenta/simd/prefetch.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>

ATTENTA_BEGIN

namespace scan {

/// Row 0 of decay, k, a, b.
template <class Arch>
inline void load_token(const Chunk<Arch>& c, std::int64_t t) {
    const Request& r = c.r;
    const Scratch& x = c.scratch;
    const std::int64_t at = c.span.begin + t;
    const auto row = [&](const FeatureMap& map, const Heads<const float>& from, float* to) {
        load_row(c, map, from, spread(c.head, c.job.state_heads, from.heads), at, to);
    };
    if (c.by_channel)
        map_exp<Arch>(c.row(r.g, at), x.decay, c.dim);
    else
        std::fill_n(x.decay, c.dim, c.by_token ? std::exp(c.row(r.g, at)[0]) : x.token_decay[0]);
    row(r.k_map, r.k, x.k);
    if (r.a.data) row(r.a_map, r.a, x.a);
    if (c.low_rank()) row({}, r.b, x.b);
    if (r.update != Update::delta) return;
    const float* predicts = r.a.data ? x.a : x.k;
    if (r.erase.data) {
        multiply_rows<Arch>(predicts, c.row(r.erase, at), x.a, c.dim);
        predicts = x.a;
    }
    if (!r.predict_before)
        multiply_rows<Arch>(predicts, x.decay, x.a, c.dim);
    else if (predicts != x.a)
        std::copy_n(predicts, c.dim, x.a);
}

/// Queries of the group; zeros without any, because the state is read while it is written.
template <class Arch>
inline void load_token_queries(const Chunk<Arch>& c, std::int64_t t) {
    const Scratch& x = c.scratch;
    if (!c.span.queries) std::fill_n(x.step_q, c.stride, 0.f);
    for (std::int64_t i = 0; i < (c.span.queries ? c.group() : 0); ++i)
        x.query_log[i] =
            load_row(c, c.r.q_map, c.r.q, c.query_head(i), c.span.query_begin + t, x.step_q + i * c.stride);
}

/// Columns of a head's state, rows `stride` apart: `valid` of the task's columns from `first` on, zeros behind them.
struct StateColumns {
    float* state;
    std::int64_t stride, first, valid;
};

/// What is prefetched of states that are worked on where they lie.
struct StatePrefetch {
    bool next;              ///< the next head's state: memory would idle meanwhile
    std::int64_t own_rows;  ///< or rows of this one and on, up to that one, shortly before their use
};

template <class Arch>
inline StatePrefetch plan_state_prefetch(const Chunk<Arch>& c) {
    const bool next = c.in_place && c.head + 1 < c.job.state_heads;
    if (!c.job.prefetch_to_l1) return {next, 0};
    return {false, !c.in_place ? 0 : next ? c.dim : c.dim - state_rows_ahead};
}

/// N vectors per row, shared by `Passes` passes over the rows.
template <int N, int Passes, class Arch>
ATTENTA_ALWAYS_INLINE void prefetch_state(const Chunk<Arch>& c, StatePrefetch plan, const float* state,
                                          std::int64_t stride, int pass, std::int64_t d) {
    if (plan.next) {
        constexpr std::int64_t part = N * Chunk<Arch>::L / Passes;
        const std::int64_t i = pass * c.dim + d;
        simd::prefetch<part>(state + (c.dim + simd::in_streams(i / Passes, c.dim, state_streams)) * stride +
                             i % Passes * part);
    }
    if (pass == 0 && d < plan.own_rows)
        simd::prefetch<N * Chunk<Arch>::L, simd::Level::l1>(state + (d + state_rows_ahead) * stride);
}

template <int N, class Arch>
ATTENTA_ALWAYS_INLINE void zero(simd::Batch<Arch> (&x)[N]) {
    simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { x[n] = simd::Batch<Arch>(0.f); });
}

/// These columns of token t.
template <int N, class Arch>
ATTENTA_ALWAYS_INLINE void load_token_columns(const Chunk<Arch>& c, const Heads<const float>& x, std::int64_t t,
                                              StateColumns s, simd::Batch<Arch> (&to)[N]) {
    const float* from = c.row(x, c.span.begin + t) + c.column + s.first;
    float padded[static_cast<std::size_t>(N * Chunk<Arch>::L)];
    if (s.valid < N * c.L) {
        std::fill(std::copy_n(from, s.valid, padded), std::end(padded), 0.f);
        from = padded;
    }
    simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { to[n] = simd::load<Arch>(from + n * c.L); });
}

/// What the state takes up of token t, to the mechanism.
template <int N, class Arch>
ATTENTA_ALWAYS_INLINE void give_token_columns(const Chunk<Arch>& c, std::int64_t t, StateColumns s,
                                              const simd::Batch<Arch> (&v)[N]) {
    float columns[static_cast<std::size_t>(N * Chunk<Arch>::L)];
    simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { v[n].store_unaligned(columns + n * c.L); });
    std::copy_n(columns, s.valid, c.r.added.row(c.head, c.span.begin + t) + c.column + s.first);
}

/// S = S diag(exp g)
template <int N, class Arch>
ATTENTA_ALWAYS_INLINE void gate_columns(const Chunk<Arch>& c, StateColumns s, simd::Batch<Arch> (&g)[N]) {
    simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { g[n] = simd::exp_nonpositive<Arch>(g[n]); });
    for (std::int64_t d = 0; d < c.dim; ++d, s.state += s.stride)
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
            (simd::load<Arch>(s.state + n * c.L) * g[n]).store_unaligned(s.state + n * c.L);
        });
}

/// y += Sᵀ a; prefetch(d) comes before row d.
template <int N, class Arch, class Prefetch>
ATTENTA_ALWAYS_INLINE void state_dot(const Chunk<Arch>& c, StateColumns s, const float* a, simd::Batch<Arch> (&y)[N],
                                     Prefetch&& prefetch) {
    for (std::int64_t d = 0; d < c.dim; ++d, s.state += s.stride) {
        prefetch(d);
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
            y[n] = simd::fma<Arch>(simd::Batch<Arch>(a[d]), simd::load<Arch>(s.state + n * c.L), y[n]);
        });
    }
}

/// S = e S + k vᵀ (+ b yᵀ), and o += Sᵀ q of the first query head, of the old state with `Before`.
template <int N, bool LowRank, bool Before, class Arch>
ATTENTA_ALWAYS_INLINE void advance(const Chunk<Arch>& c, StateColumns s, const simd::Batch<Arch> (&v)[N],
                                   const simd::Batch<Arch> (&y)[N], simd::Batch<Arch> (&o)[N]) {
    using Batch = simd::Batch<Arch>;
    const Scratch& x = c.scratch;
    const bool halves = c.corrects();
    const StatePrefetch plan = plan_state_prefetch(c);
    const float* const first = s.state;
    for (std::int64_t d = 0; d < c.dim; ++d, s.state += s.stride) {
        const Batch k(x.k[d]), e(x.decay[d]), q(x.step_q[d]), b(LowRank ? x.b[d] : 0.f);
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
            const Batch old = simd::load<Arch>(s.state + n * c.L);
            Batch now = simd::fma<Arch>(e, old, k * v[n]);
            if constexpr (LowRank) now = simd::fma<Arch>(b, y[n], now);
            now.store_unaligned(s.state + n * c.L);
            o[n] = simd::fma<Arch>(q, Before ? old : now, o[n]);
        });
        // Behind the row's work: in front of it, g++ 12 spills the outputs of low-rank updates.
        if (halves)
            prefetch_state<N, 2>(c, plan, first, s.stride, 1, d);
        else
            prefetch_state<N, 1>(c, plan, first, s.stride, 0, d);
    }
}

/// Columns from `first` on of head i of the group; with `bonus`, its share of the token's values.
template <int N, class Arch>
ATTENTA_ALWAYS_INLINE void write_head(const Chunk<Arch>& c, std::int64_t i, std::int64_t first,
                                      simd::Batch<Arch> (&o)[N], const simd::Batch<Arch>* bonus) {
    const Scratch& x = c.scratch;
    const simd::Batch<Arch> weight(bonus ? bonus_weight(c, x.step_q + i * c.stride, c.row(c.r.u, 0), x.k) : 0.f);
    simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
        if (bonus) o[n] = simd::fma<Arch>(weight, bonus[n], o[n]);
        o[n].store_unaligned(x.step_o + i * x.width + first + n * c.L);
    });
}

/// Outputs of heads begin .. end - 1 of the group.
template <int N, class Arch>
ATTENTA_ALWAYS_INLINE void read_heads(const Chunk<Arch>& c, StateColumns s, std::int64_t begin, std::int64_t end,
                                      const simd::Batch<Arch>* bonus = nullptr) {
    for (std::int64_t i = begin; i < end; ++i) {
        simd::Batch<Arch> o[N];
        zero(o);
        state_dot<N>(c, s, c.scratch.step_q + i * c.stride, o, [](auto) {});
        write_head<N>(c, i, s.first, o, bonus);
    }
}

/// The state takes token t up. The first query head reads while it is written.
template <int N, class Arch>
ATTENTA_ALWAYS_INLINE void update_columns(const Chunk<Arch>& c, StateColumns s, std::int64_t t, std::int64_t heads) {
    using Batch = simd::Batch<Arch>;
    const Request& r = c.r;
    Batch v[N], y[N], o[N];
    load_token_columns<N>(c, r.v, t, s, v);
    const Batch b(c.beta(c.span.begin + t));
    if (r.write.data) {
        load_token_columns<N>(c, r.write, t, s, y);
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { v[n] = v[n] * y[n]; });
    }
    if (r.gv.data) {
        load_token_columns<N>(c, r.gv, t, s, y);
        gate_columns<N>(c, s, y);
    }
    zero(y);
    if (c.corrects())
        state_dot<N>(c, s, c.scratch.a, y, [&c, s, plan = plan_state_prefetch(c)](auto d) ATTENTA_FLATTEN {
            prefetch_state<N, 2>(c, plan, s.state, s.stride, 0, d);
        });
    simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
        if (r.update == Update::additive) v[n] = v[n] * b;
        if (r.update == Update::delta) v[n] = (v[n] - y[n]) * b;
    });
    if (r.added.data) give_token_columns<N>(c, t, s, v);
    zero(o);
    if (r.read_before) {
        read_heads<N>(c, s, 1, heads, v);
        advance<N, false, true>(c, s, v, y, o);
    } else if (c.low_rank()) {
        advance<N, true, false>(c, s, v, y, o);
    } else {
        advance<N, false, false>(c, s, v, y, o);
    }
    if (heads > 0) write_head<N>(c, 0, s.first, o, r.read_before ? v : nullptr);
}

template <int N, class Arch>
void step_columns(const Chunk<Arch>& c, const StateColumns& s, std::int64_t t) {
    const std::int64_t heads = c.span.queries ? c.group() : 0;
    if (c.span.keys) update_columns<N>(c, s, t, heads);
    if (!c.span.keys || !c.r.read_before) read_heads<N>(c, s, c.span.keys ? 1 : 0, heads);
}

/// `width` columns from `first` on, in the caller's state or in a panel.
template <class Arch>
StateColumns state_columns(const Chunk<Arch>& c, std::int64_t first, std::int64_t width) {
    if (c.in_place) return {c.job.state->of(c.head) + c.column + first, c.job.dim_v, first, width};
    return {c.state_panel(first / c.W), c.W, first, std::min(width, c.columns - first)};
}

/// All columns: of panels one by one, of the caller's state as many together as registers hold.
template <class Arch>
inline void step_state(const Chunk<Arch>& c, std::int64_t t) {
    constexpr std::int64_t L = Chunk<Arch>::L, W = Chunk<Arch>::W;
    constexpr int wide = step_vectors(L);
    std::int64_t i = 0;
    for (; c.in_place && i + wide * L <= c.columns; i += wide * L)
        step_columns<wide>(c, state_columns(c, i, wide * L), t);
    for (; i + W <= (c.in_place ? c.columns : c.panels * W); i += W)
        step_columns<Chunk<Arch>::vectors>(c, state_columns(c, i, W), t);
    for (; i < c.columns; i += L) step_columns<1>(c, state_columns(c, i, L), t);
}

/// Output of head i of the group.
template <class Arch>
inline void finish_step(const Chunk<Arch>& c, std::int64_t t, std::int64_t i) {
    const Scratch& x = c.scratch;
    const Finish& finish = c.r.finish;
    const std::int64_t head = c.head * c.group() + i, token = c.span.query_begin + t;
    float factor = c.r.scale;
    if (finish.factor)
        factor *= finish.factor(finish.parameters, head, token,
                                c.r.normalizer ? dot(c, x.step_q + i * c.stride, x.normalizer) : 0.f, x.query_log[i]);
    simd::finish_row<Arch>(c.job.o.row(head, token) + c.column, x.step_o + i * x.width, c.columns, factor);
}

template <class Arch>
inline void run_steps(const Chunk<Arch>& c) {
    const Scratch& x = c.scratch;
    for (std::int64_t t = 0; t < c.n; ++t) {
        if (c.span.keys) load_token(c, t);
        load_token_queries(c, t);
        if (c.r.normalizer && c.span.keys)
            for (std::int64_t d = 0; d < c.dim; ++d) x.normalizer[d] = x.normalizer[d] * x.decay[d] + x.k[d];
        step_state(c, t);
        if (c.span.queries)
            for (std::int64_t i = 0; i < c.group(); ++i) finish_step(c, t, i);
        if (c.span.keys) keep_if_wanted(c, c.span.begin + t + 1);
    }
}

}  // namespace scan

ATTENTA_END
