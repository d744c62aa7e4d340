// Scratch of the scan's tasks, the same for every instruction set.
#pragma once

#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/scan/job.hpp>

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

/// Sized for the widest instruction set: rows of `stride` floats, panels of 32 columns.
struct Scratch {
    static constexpr std::int64_t most_lanes = 16, most_width = 32, most_rows = 8;
    std::int64_t stride, width;  ///< floats of a row of keys, of outputs

    // What a head keeps from chunk to chunk; see select_head.
    float *state, *z, *step, *from_start, *to_end, *power, *between;  // the last five: decays of all channels
    // Of the chunk at hand.

    float *k, *q, *a, *b;                  // rows of a chunk
    float *decayed_k, *decayed_b;          // to the chunk's end
    float *e, *chunk_decay, *since_start;  // decays by channel
    double* sums;
    float *block_rows, *block_strips, *block_decay;
    float *strips, *query_strips, *panels, *columns;
    const std::byte **rows, **prefetch;
    float *products, *p, *p2, *solve, *inner, *pairs;
    float *v, *n, *added = nullptr;  // value panels; `added` is what the state takes up
    float *o, *log, *factor;
    float *step_q, *step_o;

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
        a = c.take<float>(low_rank ? rows_here : stride);
        b = c.take<float>(low_rank ? rows_here : stride);
        decayed_k = c.take<float>(by_channel ? rows_here : 0);
        decayed_b = c.take<float>(low_rank ? rows_here : 0);
        e = c.take<float>(by_channel ? rows_here : stride);
        chunk_decay = c.take<float>(stride);
        since_start = c.take<float>(stride);
        sums = c.take<double>(stride);
        block_rows = c.take<float>(block * stride);
        block_strips = c.take<float>(block * stride + most_lanes);
        block_decay = c.take<float>(stride);
        strips = c.take<float>(delta ? rows_here + most_lanes : 0);
        query_strips = c.take<float>(rows_here + most_lanes);
        panels = c.take<float>(low_rank ? 2 * rows_here : rows_here);
        columns = c.take<float>(by_channel ? 0 : rows_here);
        rows = c.take<const std::byte*>(2 * chunk);
        prefetch = c.take<const std::byte*>((5 + 2 * group) * (chunk + heads));
        products = c.take<float>(by_channel ? 0 : chunk * chunk);
        p = c.take<float>(chunk * chunk);
        p2 = c.take<float>(low_rank ? chunk * chunk : 0);
        solve = c.take<float>(delta ? chunk * chunk : 0);
        inner = c.take<float>(low_rank ? chunk * chunk : 0);
        pairs = c.take<float>(by_channel ? 4 * (block / 2) * (block / 2) * most_lanes : 0);
        v = c.take<float>(chunk * width);
        n = c.take<float>(delta ? chunk * width : 0);
        o = c.take<float>(most_rows * most_width);
        factor = c.take<float>(chunk);
        log = c.take<float>(std::max(chunk, group));
        step_q = c.take<float>(group * stride);
        step_o = c.take<float>(group * width);
    }

    void select_head(std::int64_t head) {
        Arena c(heads_ + head * head_bytes_);
        take_head(c);
    }

private:
    void take_head(Arena& c) {
        state = c.take<float>(stride * width);
        z = c.take<float>(stride);
        step = c.take<float>(chunk);
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
    float *state, *z, *decay;  ///< panels of columns; normalizer; what the chunk makes of each channel of the old state

    ChunkState(float* memory, const Job& job) : state(memory), z(state + panels(job)), decay(z + lanes(job)) {}
    static std::int64_t floats(const Job& job) { return panels(job) + 2 * lanes(job); }

private:
    static std::int64_t lanes(const Job& job) { return round_up(job.dim, Scratch::most_lanes); }
    static std::int64_t panels(const Job& job) { return lanes(job) * round_up(job.dim_v, Scratch::most_width); }
};

}  // namespace scan

ATTENTA_END
