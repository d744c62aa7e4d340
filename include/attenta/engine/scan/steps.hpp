// Chunks of few tokens, token by token:
//     additive    S = e S + beta k vᵀ
//     delta       S = e S + beta k (v − (e S)ᵀ k)ᵀ
//     low_rank    S = e S + k vᵀ + b (Sᵀ a)ᵀ
// e is the token's decay; with gates of value channels S is S diag(exp gv) first. What takes arrays of batches is inlined:
// they live in registers. See loop.hpp.
#pragma once

#include <attenta/engine/scan/decays.hpp>
#include <attenta/engine/scan/products.hpp>
#include <attenta/engine/scan/rows.hpp>
#include <attenta/simd/prefetch.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

/// Row 0 of decay, k, a, b.
template <class Arch>
void load_token(const Chunk<Arch>& c, std::int64_t t) {
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
    if (r.update == Update::delta)
        for (std::int64_t d = 0; d < c.dim; ++d) x.a[d] = x.k[d] * x.decay[d];
    if (c.low_rank()) {
        row({}, r.a, x.a);
        row({}, r.b, x.b);
    }
}

/// Queries of the group; zeros without any, because the state is read while it is written.
template <class Arch>
void load_token_queries(const Chunk<Arch>& c, std::int64_t t) {
    const Scratch& x = c.scratch;
    if (!c.span.queries) std::fill_n(x.step_q, c.stride, 0.f);
    for (std::int64_t i = 0; i < (c.span.queries ? c.group() : 0); ++i)
        x.query_log[i] =
            load_row(c, c.r.q_map, c.r.q, c.query_head(i), c.span.query_begin + t, x.step_q + i * c.stride);
}

/// What is prefetched of states that are worked on where they lie.
struct StatePrefetch {
    bool next;              ///< the next head's state: memory would idle meanwhile
    std::int64_t own_rows;  ///< or rows of this one and on, up to that one, shortly before their use
};
inline constexpr std::int64_t rows_ahead = 8;

template <class Arch>
StatePrefetch plan_state_prefetch(const Chunk<Arch>& c) {
    const bool next = c.in_place && c.head + 1 < c.job.state_heads;
    if (!c.job.prefetch_to_l1) return {next, 0};
    return {false, !c.in_place ? 0 : next ? c.dim : c.dim - rows_ahead};
}

/// N vectors per row, shared by `Passes` passes over the rows.
template <int N, int Passes, class Arch>
ATTENTA_ALWAYS_INLINE void prefetch_state(const Chunk<Arch>& c, StatePrefetch plan, const float* state,
                                          std::int64_t stride, int pass, std::int64_t d) {
    if (plan.next) {
        constexpr std::int64_t part = N * Chunk<Arch>::L / Passes;
        const std::int64_t i = pass * c.dim + d;
        simd::prefetch<part>(state + (c.dim + simd::in_streams(i / Passes, c.dim, 4)) * stride + i % Passes * part);
    }
    if (pass == 0 && d < plan.own_rows)
        simd::prefetch<N * Chunk<Arch>::L, simd::Level::l1>(state + (d + rows_ahead) * stride);
}

/// S = S diag(exp g)
template <int N, class Arch>
ATTENTA_ALWAYS_INLINE void gate_values(const Chunk<Arch>& c, simd::Batch<Arch> (&g)[N], float* state,
                                       std::int64_t stride) {
    simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { g[n] = simd::exp_nonpositive<Arch>(g[n]); });
    for (std::int64_t d = 0; d < c.dim; ++d, state += stride)
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
            (simd::load<Arch>(state + n * c.L) * g[n]).store_unaligned(state + n * c.L);
        });
}

/// y += Sᵀ a; prefetch(d) comes before row d.
template <int N, class Arch, class Prefetch>
ATTENTA_ALWAYS_INLINE void state_dot(const Chunk<Arch>& c, const float* a, const float* state, std::int64_t stride,
                                     simd::Batch<Arch> (&y)[N], Prefetch&& prefetch) {
    for (std::int64_t d = 0; d < c.dim; ++d, state += stride) {
        prefetch(d);
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
            y[n] = simd::fma<Arch>(simd::Batch<Arch>(a[d]), simd::load<Arch>(state + n * c.L), y[n]);
        });
    }
}

/// S = e S + k vᵀ (+ b yᵀ), and o += Sᵀ q of the first query head, of the old state with `Before`.
template <int N, bool LowRank, bool Before, class Arch>
ATTENTA_ALWAYS_INLINE void advance(const Chunk<Arch>& c, float* state, std::int64_t stride,
                                   const simd::Batch<Arch> (&v)[N], const simd::Batch<Arch> (&y)[N],
                                   simd::Batch<Arch> (&o)[N]) {
    using Batch = simd::Batch<Arch>;
    const Scratch& x = c.scratch;
    const bool halves = c.corrects();
    const StatePrefetch plan = plan_state_prefetch(c);
    const float* const first = state;
    for (std::int64_t d = 0; d < c.dim; ++d, state += stride) {
        const Batch k(x.k[d]), e(x.decay[d]), q(x.step_q[d]), b(LowRank ? x.b[d] : 0.f);
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
            const Batch old = simd::load<Arch>(state + n * c.L);
            Batch now = simd::fma<Arch>(e, old, k * v[n]);
            if constexpr (LowRank) now = simd::fma<Arch>(b, y[n], now);
            now.store_unaligned(state + n * c.L);
            o[n] = simd::fma<Arch>(q, Before ? old : now, o[n]);
        });
        // Behind the row's work: in front of it, g++ 12 spills the outputs of low-rank updates.
        if (halves)
            prefetch_state<N, 2>(c, plan, first, stride, 1, d);
        else
            prefetch_state<N, 1>(c, plan, first, stride, 0, d);
    }
}

/// Columns of head i of the group, from `column` on; with `bonus`, its share of the token's values.
template <int N, class Arch>
ATTENTA_ALWAYS_INLINE void write_head(const Chunk<Arch>& c, std::int64_t i, std::int64_t column,
                                      simd::Batch<Arch> (&o)[N], const simd::Batch<Arch>* bonus) {
    const Scratch& x = c.scratch;
    const simd::Batch<Arch> weight(bonus ? bonus_weight(c, x.step_q + i * c.stride, c.row(c.r.u, 0), x.k) : 0.f);
    simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
        if (bonus) o[n] = simd::fma<Arch>(weight, bonus[n], o[n]);
        o[n].store_unaligned(x.step_o + i * x.width + column + n * c.L);
    });
}

/// Outputs of heads begin .. end - 1 of the group.
template <int N, class Arch>
ATTENTA_ALWAYS_INLINE void read_heads(const Chunk<Arch>& c, std::int64_t begin, std::int64_t end, const float* state,
                                      std::int64_t stride, std::int64_t column,
                                      const simd::Batch<Arch>* bonus = nullptr) {
    using Batch = simd::Batch<Arch>;
    for (std::int64_t i = begin; i < end; ++i) {
        Batch o[N];
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { o[n] = Batch(0.f); });
        state_dot<N>(c, c.scratch.step_q + i * c.stride, state, stride, o, [](auto) {});
        write_head<N>(c, i, column, o, bonus);
    }
}

/// `valid` of the task's columns from `column` on; the others hold zeros. Rows of `state` are `stride` apart.
template <int N, class Arch>
void step_columns(const Chunk<Arch>& c, std::int64_t t, float* state, std::int64_t stride, std::int64_t column,
                  std::int64_t valid) {
    using Batch = simd::Batch<Arch>;
    const Request& r = c.r;
    const auto load = [&](const Heads<const float>& x, Batch(&to)[N]) ATTENTA_FLATTEN {
        const float* const from = c.row(x, c.span.begin + t) + c.column + column;
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { to[n] = load_up_to<Arch>(from + n * c.L, valid - n * c.L); });
    };
    const std::int64_t heads = c.span.queries ? c.group() : 0;
    if (!c.span.keys) return read_heads<N>(c, 0, heads, state, stride, column);
    Batch v[N], y[N];
    load(r.v, v);
    const Batch b(c.beta(c.span.begin + t));
    if (r.gv.data) {
        load(r.gv, y);
        gate_values<N>(c, y, state, stride);
    }
    simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { y[n] = Batch(0.f); });
    if (c.corrects())
        state_dot<N>(c, c.scratch.a, state, stride, y,
                     [&c, state, stride, plan = plan_state_prefetch(c)](auto d)
                         ATTENTA_FLATTEN { prefetch_state<N, 2>(c, plan, state, stride, 0, d); });
    simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
        if (r.update == Update::additive) v[n] = v[n] * b;
        if (r.update == Update::delta) v[n] = (v[n] - y[n]) * b;
    });
    // The first query head reads while the state is written.
    Batch o[N];
    simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { o[n] = Batch(0.f); });
    if (r.read_before) {
        read_heads<N>(c, 1, heads, state, stride, column, v);
        advance<N, false, true>(c, state, stride, v, y, o);
    } else if (c.low_rank()) {
        advance<N, true, false>(c, state, stride, v, y, o);
    } else {
        advance<N, false, false>(c, state, stride, v, y, o);
    }
    if (heads > 0) write_head<N>(c, 0, column, o, r.read_before ? v : nullptr);
    if (!r.read_before) read_heads<N>(c, 1, heads, state, stride, column);
}

/// All columns, in the caller's state or in panels.
template <class Arch>
void step_state(const Chunk<Arch>& c, std::int64_t t) {
    constexpr std::int64_t L = Chunk<Arch>::L, W = Chunk<Arch>::W;
    if (!c.in_place) {
        for (std::int64_t p = 0; p < c.panels; ++p)
            step_columns<Chunk<Arch>::vectors>(c, t, c.state_panel(p), W, p * W, std::min(W, c.columns - p * W));
        return;
    }
    constexpr int wide = L >= 16 ? 8 : 4;
    float* const state = c.job.state->of(c.head) + c.column;
    const std::int64_t stride = c.job.dim_v;
    std::int64_t i = 0;
    for (; i + wide * L <= c.columns; i += wide * L) step_columns<wide>(c, t, state + i, stride, i, wide * L);
    for (; i + 2 * L <= c.columns; i += 2 * L) step_columns<2>(c, t, state + i, stride, i, 2 * L);
    if (i < c.columns) step_columns<1>(c, t, state + i, stride, i, L);
}

/// Output of head i of the group.
template <class Arch>
void finish_step(const Chunk<Arch>& c, std::int64_t t, std::int64_t i) {
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
void run_steps(const Chunk<Arch>& c) {
    const Scratch& x = c.scratch;
    for (std::int64_t t = 0; t < c.n; ++t) {
        if (c.span.keys) load_token(c, t);
        load_token_queries(c, t);
        if (c.r.normalizer && c.span.keys)
            for (std::int64_t d = 0; d < c.dim; ++d) x.normalizer[d] = x.normalizer[d] * x.decay[d] + x.k[d];
        step_state(c, t);
        if (c.span.queries)
            for (std::int64_t i = 0; i < c.group(); ++i) finish_step(c, t, i);
    }
}

}  // namespace scan

ATTENTA_END
