// The scan of one instruction set. See scan/request.hpp.
//
// A chunk of n tokens, S0 the state before it:
//     E_t  = decay from the chunk's start to t, F_s = decay from s to its end     decays.hpp
//     v'   = v, or what the delta rules make of it: (I − A)⁻¹ (right-hand side)   correction.hpp
//     P_ts = Σ_d q_td k_sd · decay from s to t, as tiles of queries × keys        products.hpp, channels.hpp
//     o_t  = scale · [ (q_t E_t) S0 + Σ_s P_ts v'_s ]                             output.hpp
//     S    = E_n S0 + Σ_s (k_s F_s) v'_sᵀ                                         state.hpp
// With gates of value channels v'_s and S0 decay by column, too                   value_gates.hpp
// These are functions of a Chunk (chunk.hpp; its memory is scratch.hpp), whose rows come from rows.hpp while
// prefetch.hpp prefetches those of the next one. A few tokens go one by one (steps.hpp). Where chunks are worked on side
// by side, parallel.hpp has the states between them. States on the way may be kept (snapshots.hpp).
#pragma once

#include <attenta/engine/scan/channels.hpp>
#include <attenta/engine/scan/chunk.hpp>
#include <attenta/engine/scan/correction.hpp>
#include <attenta/engine/scan/decays.hpp>
#include <attenta/engine/scan/output.hpp>
#include <attenta/engine/scan/parallel.hpp>
#include <attenta/engine/scan/prefetch.hpp>
#include <attenta/engine/scan/rows.hpp>
#include <attenta/engine/scan/snapshots.hpp>
#include <attenta/engine/scan/state.hpp>
#include <attenta/engine/scan/steps.hpp>
#include <attenta/engine/scan/value_gates.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

/// Tokens of chunk i.
template <class Arch>
inline Span span_of(const Chunk<Arch>& c, std::int64_t i) {
    const Request& r = c.r;
    const std::int64_t keys = r.k.tokens, queries = r.q.tokens, first = r.causal ? keys - queries : keys,
                       before = Chunks(r).before, t = (i < before ? i : i - before) * chunk;
    if (i < before) return {t, std::min(chunk, first - t), false, true, 0};
    return {r.causal ? first + t : 0,
            std::min(chunk, queries - t),
            c.task.pass != Pass::chunk_states,
            r.causal,
            t,
            r.causal && c.task.pass != Pass::outputs};
}

/// Rows of the last register tile behind the chunk weigh nothing. What scratch holds of other calls could raise a
/// floating-point exception in them.
template <class Arch>
void clear_behind(const Chunk<Arch>& c) {
    const Scratch& x = c.scratch;
    const std::int64_t end = round_up(c.n, c.R), floats = (end - c.n) * chunk;
    if (floats == 0) return;
    if (c.by_token) std::fill(x.from_start + c.n, x.from_start + end, 0.f);
    std::fill_n(x.qk + c.n * chunk, floats, 0.f);
    if (c.corrects()) std::fill_n(x.ab + c.n * chunk, floats, 0.f);
    if (!c.low_rank()) return;
    for (float* const p : {x.qb, x.ak}) std::fill_n(p + c.n * chunk, floats, 0.f);
    for (std::int64_t p = 0; p < c.panels; ++p)
        std::fill(x.v + (p * chunk + c.n) * c.W, x.v + (p * chunk + end) * c.W, 0.f);
}

/// States wanted behind more than a few of the chunk's tokens, from the rows that the whole chunk adds: those of its first
/// tokens do not depend on later ones.
template <class Arch>
void keep_states_of_prefixes(Chunk<Arch>& c) {
    const std::int64_t begin = c.span.begin, n = c.n;
    WantedStates wanted = wanted_states(c.job.kept, begin + few_tokens + 1, begin + n - 1);
    if (wanted.first == wanted.end) return;
    c.prefix = true;
    for (; wanted.first != wanted.end; ++wanted.first, ++wanted.slot) {
        const StateCopy copy(c);
        c.n = *wanted.first - begin;
        chunk_decays(c);
        update_state(c);
        keep_state(c, wanted.slot, 0, c.dim);
    }
    c.n = n;
    chunk_decays(c);
}

/// The formulas above, in their order.
template <class Arch>
void run_products(Chunk<Arch>& c) {
    plan_prefetch(c);
    clear_behind(c);
    if (c.span.keys) {
        load_keys(c);
        chunk_decays(c);
        load_values(c);
        if (c.r.gv.data) load_value_gates(c);
        if (c.corrects()) correct(c);
        c.added = c.corrects() ? c.scratch.v_new : c.scratch.v;
    }
    const bool value_gates = c.r.gv.data && c.span.keys;
    if (c.span.queries)
        for (std::int64_t i = 0; i < c.group(); ++i) value_gates ? write_gated_outputs(c, i) : write_outputs(c, i);
    if (value_gates && c.span.updates) {
        decay_values(c);
        c.added = c.scratch.gated_values;
    }
    if (c.job.kept.count > 0 && c.task.pass != Pass::chunk_states && !c.r.gv.data) keep_states_of_prefixes(c);
    if (c.span.updates) update_state(c);
    c.prefix = false;
}

/// The chunk's first tokens without outputs, in the copy of the state.
template <class Arch>
void replay(Chunk<Arch>& c) {
    if (c.by_steps()) return run_steps(c);
    run_products(c);
    keep_if_wanted(c, c.span.begin + c.n);
}

/// States wanted from the chunk's first token on, before it is worked on: as far as steps go, or all of them where the update
/// changes more than the state takes up.
template <class Arch>
void keep_states_of_chunk(Chunk<Arch>& c) {
    keep_if_wanted(c, c.span.begin);
    if (c.by_steps()) return;
    const Span span = c.span;
    const std::int64_t begin = span.begin, most = c.r.gv.data ? c.n - 1 : few_tokens;
    const WantedStates wanted = wanted_states(c.job.kept, begin + 1, begin + most);
    for (const std::int64_t* at = wanted.first; at != wanted.end; ++at) {
        const std::int64_t count = *at - begin;
        if (at + 1 != wanted.end && at[1] - begin <= few_tokens) continue;  // steps keep those on their way
        const StateCopy copy(c);
        c.span = {begin, count, false, true, span.query_begin, true};
        c.n = count;
        replay(c);
    }
    c.span = span;
    c.n = span.count;
}

template <class Arch>
inline void run_chunk(Chunk<Arch>& c, std::int64_t i) {
    c.span = span_of(c, i);
    c.n = c.span.count;
    if (c.task.pass != Pass::whole) select_chunk_state(c, i);
    if (c.job.kept.count > 0 && c.task.pass != Pass::chunk_states) keep_states_of_chunk(c);
    if (c.by_steps())
        run_steps(c);
    else
        run_products(c);
    if (c.task.pass == Pass::chunk_states) std::copy_n(c.scratch.chunk_decay, c.stride, chunk_state(c, i + 1).decay);
}

template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_heads(Chunk<Arch>& c, F&& f) {
    for (std::int64_t i = 0; i < c.heads; ++i) {
        c.select_head(c.first_head + i);
        f();
    }
}

/// A task. Its heads are interleaved chunk by chunk.
template <class Arch>
void run_chunks(const Job& job, const Task& task, std::byte* memory) {
    Arena arena(memory);
    Chunk<Arch> c(job, task, arena);
    if (task.pass == Pass::prefix_states) return prefix_states(c);
    const bool whole = task.pass == Pass::whole;
    if (c.by_channel && job.r.k.tokens > few_tokens) clear_pairs(c);
    for_heads(c, [&] {
        begin_decays(c);
        if (whole) begin_head_state(c);
    });
    for (std::int64_t i = task.chunk_begin; i < task.chunk_end; ++i) for_heads(c, [&] { run_chunk(c, i); });
    if (!whole) return;
    const bool keep = !c.by_steps() && task.chunk_end == Chunks(job.r).all;
    for_heads(c, [&] {
        if (keep) keep_if_wanted(c, job.r.k.tokens);
        end_head_state(c);
    });
}

}  // namespace scan

ATTENTA_END
