// Scratch of the scan's tasks, the same for every instruction set.
#pragma once

#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/scan/job.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

/// Read-before and low-rank updates are made for gates by channel: one channel alone is no different.
inline bool decays_by_channel(const Request& r) {
    return r.g.data && (r.g.dim > 1 || r.read_before || r.update == Update::low_rank);
}

/// Numbers of chunks: in front of the first query, which only change the state, and all.
struct Chunks {
    std::int64_t before, all;
    explicit Chunks(const Request& r)
        : before(ceil_div(r.causal ? r.k.tokens - r.q.tokens : r.k.tokens, chunk)),
          all(before + ceil_div(r.q.tokens, chunk)) {}
};

/// Memory of a task, sized for the widest instruction set. Rows of keys have `stride` floats, rows of values `width`.
/// Operands of the register tile lie in micro-panels: a-panels are rows of its left operand, as many side by side as a
/// vector has lanes, [panel][channel][row]; b-panels are columns of its right operand, as many as the tile is wide:
/// keys [panel][channel][key], values and states [panel][token or channel][column].
struct Scratch {
    static constexpr std::int64_t most_lanes = 16, most_width = 32, most_rows = 8;
    std::int64_t stride, width;

    // Of a head, from chunk to chunk (see select_head). Decays by channel are not among these.
    float* state;        ///< b-panels
    float* normalizer;   ///< [channel]
    float* token_decay;  ///< [token] exp(g); of one decay for all tokens the first alone
    float* from_start;   ///< [token] decay from the chunk's start to behind the token
    float* to_end;       ///< [token] decay from behind the token to the chunk's end, where decays differ by token
    float* power;        ///< [chunk + 1] exp(g j) of one decay for all tokens
    float* between;      ///< [token t][token s] decay from behind s to behind t, 0 for s > t

    // Rows of the chunk, [token][channel], where the caller's cannot be used: they are mapped, or end within a vector.
    // Steps use row 0: a is what predicts the value, b what takes the prediction up.
    float *k, *q, *a, *b;
    float *decayed_k, *decayed_b;  ///< [token][channel] decayed by channel, at last to the chunk's end

    // Decays by channel; steps have every kind of decay in row 0 of `decay`.
    float* decay;        ///< [token][channel] exp(g)
    float* chunk_decay;  ///< [channel] of the whole chunk, for other decays too
    float* to_block;     ///< [channel] from the chunk's start to that of the block at hand
    double* gate_sums;   ///< [channel] sums of g over the chunk
    // Of a block, see channels.hpp.
    float* block_rows;      ///< [token][channel] decayed rows, of up to two halves of a block
    float* block_a_panels;  ///< these rows
    float* block_decay;     ///< [channel] of the whole block

    // Micro-panels of the chunk.
    float* correction_a_panels;  ///< rows of a, or the delta rule's keys; decayed from the chunk's start if by channel
    float* query_a_panels;       ///< queries of the head, decayed likewise
    float* key_b_panels;         ///< keys, and keys of both sets where there are two
    float* update_a_panels;      ///< [panel][token][channel] keys decayed to the chunk's end, if not by channel
    const std::byte** rows_to_pack;      ///< [key] of all sets
    const std::byte** rows_to_prefetch;  ///< this head's share of the next chunk, see prefetch.hpp

    // Products within the chunk, [token t][token s], decays included: A_qk, A_qb, A_ab, A_ak of fla.
    float* undecayed_qk;  ///< without decays: heads that share queries and keys share it
    float* qk;            ///< queries and keys
    float* qb;            ///< queries and rows of b
    float* ab;            ///< rows of a and of b, s < t; of the delta rule −beta keys and keys
    float* ak;            ///< rows of a and keys, s < t
    float* pair_sums;     ///< [product][token s][token t][lane] of half a block, see channels.hpp

    // Values and outputs.
    float* v;                  ///< b-panels
    float* v_new;              ///< b-panels, what the correction makes of the values
    float* value_decay;        ///< b-panels, exp(gv)
    float* value_chunk_decay;  ///< [column] of the whole chunk
    float* gated_values;       ///< b-panels, values on their way to the chunk's end
    float* output_tile;        ///< [row][column] where a register tile is not wholly written
    float* output_scale;       ///< [token]
    float* query_log;          ///< [token], in steps [head of the group]: the logarithm that the query's map returned
    float *step_q, *step_o;    ///< [head of the group][channel], [head of the group][column]

    // A copy of the state, in which the first tokens of a chunk are replayed where theirs is wanted, see snapshots.hpp.
    float *replayed_state, *replayed_normalizer;

    Scratch(Arena& c, const Job& job, std::int64_t columns_here, std::int64_t heads)
        : stride(round_up(job.dim, most_lanes)), width(round_up(columns_here, most_width)) {
        const std::int64_t rows_here = chunk * stride, group = job.out_heads / job.state_heads;
        const bool delta = job.r.update != Update::additive, low_rank = job.r.update == Update::low_rank,
                   by_channel = decays_by_channel(job.r);
        Arena head(nullptr);
        take_head(head);
        head_bytes_ = head.used();
        heads_ = c.take<std::byte>(heads * head_bytes_);
        k = c.take<float>(rows_here);
        q = c.take<float>(rows_here);
        a = c.take<float>(low_rank || job.r.a.data || job.r.erase.data ? rows_here : stride);
        b = c.take<float>(low_rank ? rows_here : stride);
        decayed_k = c.take<float>(by_channel ? rows_here : 0);
        decayed_b = c.take<float>(low_rank ? rows_here : 0);
        decay = c.take<float>(by_channel ? rows_here : stride);
        chunk_decay = c.take<float>(stride);
        to_block = c.take<float>(stride);
        gate_sums = c.take<double>(stride);
        block_rows = c.take<float>(block * stride);
        block_a_panels = c.take<float>(block * stride + most_lanes);
        block_decay = c.take<float>(stride);
        correction_a_panels = c.take<float>(delta ? rows_here + most_lanes : 0);
        query_a_panels = c.take<float>(rows_here + most_lanes);
        key_b_panels = c.take<float>(low_rank ? 2 * rows_here : rows_here);
        update_a_panels = c.take<float>(by_channel ? 0 : rows_here);
        rows_to_pack = c.take<const std::byte*>(2 * chunk);
        rows_to_prefetch = c.take<const std::byte*>((6 + 2 * group) * (chunk + heads));
        undecayed_qk = c.take<float>(by_channel ? 0 : chunk * chunk);
        qk = c.take<float>(chunk * chunk);
        qb = c.take<float>(low_rank ? chunk * chunk : 0);
        ab = c.take<float>(delta ? chunk * chunk : 0);
        ak = c.take<float>(low_rank ? chunk * chunk : 0);
        pair_sums = c.take<float>(by_channel ? 4 * (block / 2) * (block / 2) * most_lanes : 0);
        v = c.take<float>(chunk * width);
        v_new = c.take<float>(delta ? chunk * width : 0);
        value_decay = c.take<float>(job.r.gv.data ? chunk * width : 0);
        value_chunk_decay = c.take<float>(job.r.gv.data ? width : 0);
        gated_values = c.take<float>(job.r.gv.data ? chunk * width : 0);
        output_tile = c.take<float>(most_rows * most_width);
        output_scale = c.take<float>(chunk);
        query_log = c.take<float>(std::max(chunk, group));
        step_q = c.take<float>(group * stride);
        step_o = c.take<float>(group * width);
        replayed_state = c.take<float>(job.kept.count > 0 ? stride * width : 0);
        replayed_normalizer = c.take<float>(job.kept.count > 0 ? stride : 0);
    }

    void select_head(std::int64_t head) {
        Arena c(heads_ + head * head_bytes_);
        take_head(c);
    }

private:
    void take_head(Arena& c) {
        state = c.take<float>(stride * width);
        normalizer = c.take<float>(stride);
        token_decay = c.take<float>(chunk);
        from_start = c.take<float>(chunk);
        to_end = c.take<float>(chunk);
        power = c.take<float>(chunk + 1);
        between = c.take<float>(chunk * chunk);
    }

    std::byte* heads_;
    std::int64_t head_bytes_;
};

/// A head's state between chunks of a round, or what a chunk adds to it.
struct ChunkState {
    float *state, *normalizer, *decay;  ///< b-panels; [channel]; [channel] what the chunk makes of the old state

    ChunkState(float* memory, const Job& job)
        : state(memory), normalizer(state + panels(job)), decay(normalizer + lanes(job)) {}
    static std::int64_t floats(const Job& job) { return panels(job) + 2 * lanes(job); }

private:
    static std::int64_t lanes(const Job& job) { return round_up(job.dim, Scratch::most_lanes); }
    static std::int64_t panels(const Job& job) { return lanes(job) * round_up(job.dim_v, Scratch::most_width); }
};

}  // namespace scan

ATTENTA_END
