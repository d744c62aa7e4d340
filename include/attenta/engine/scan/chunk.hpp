// What the steps of a chunk share. See loop.hpp.
#pragma once

#include <attenta/engine/scan/scratch.hpp>
#include <attenta/simd/prefetch.hpp>
#include <attenta/simd/register_tile.hpp>

#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

/// Rows of a chunk, readable in whole vectors.
struct Rows {
    const float* first = nullptr;
    std::int64_t stride = 0;
    const float* operator[](std::int64_t t) const { return first + t * stride; }
};

/// Tokens begin .. begin + count - 1 of the keys; queries query_begin .. of as many.
struct Span {
    std::int64_t begin = 0, count = 0;
    bool queries = false, keys = false;
    std::int64_t query_begin = 0;
    bool updates = keys;
};

/// Rows of the next chunk that are prefetched beside this one's products. See prefetch.hpp.
struct NextRows {
    simd::KeyValuePrefetch queue;
    std::int64_t lines_per_step = 0, due = 0;  ///< fixed point
};

/// A tensor of `of` heads is read by head `head` of `heads` at this index.
inline std::int64_t spread(std::int64_t head, std::int64_t heads, std::int64_t of) { return head / (heads / of); }

/// A task, and the chunk of a head that it is at.
template <class A>
struct Chunk {
    using Arch = A;
    /// The register tile, R rows and W columns in `vectors`: its rows divide half a block and a vector; where registers
    /// are left, vectors make up for rows.
    static constexpr int lanes = static_cast<int>(simd::lanes<Arch>),
                         R = simd::TileShape<Arch>::rows >= 8 && lanes >= 8 ? 8 : 4,
                         vectors = simd::TileShape<Arch>::rows >= 8 ? 16 / R : 2;
    static constexpr std::int64_t L = lanes, W = vectors * L;
    using Tile = simd::RegisterTile<Arch, R, vectors>;

    // The task.
    const Job& job;
    const Task& task;
    const Request& r;
    const std::int64_t first_head, heads, column, columns, panels;  ///< `panels` hold the task's columns
    const std::int64_t dim, stride;                                 ///< channels; floats from row to row in scratch
    Scratch scratch;
    const bool by_channel, by_token;  ///< how decays differ; if neither, there is one per head or none
    const bool in_place;              ///< steps advance the state where it lies

    // The chunk at hand.
    std::int64_t head = 0;
    Span span;
    std::int64_t n = 0;            ///< its tokens
    Rows q, k, a, b;               ///< where its rows lie: with the caller or in scratch
    const float* added = nullptr;  ///< what the state takes up: the values, or what the correction makes of them
    bool prefix = false;  ///< keys are decayed to the end of the chunk's first tokens instead, see snapshots.hpp
    NextRows next;

    /// Rows whose undecayed products are at hand.
    const float *product_q = nullptr, *product_k = nullptr;

    Chunk(const Job& shared, const Task& own, Arena& arena)
        : job(shared),
          task(own),
          r(job.r),
          first_head(task.head_begin),
          heads(task.head_end - task.head_begin),
          column(task.column_begin),
          columns(task.column_end - task.column_begin),
          panels(ceil_div(columns, W)),
          dim(job.dim),
          stride(round_up(dim, L)),
          scratch(arena, job, columns, heads),
          by_channel(decays_by_channel(r)),
          by_token(!by_channel && r.g.data && r.g.tokens > 1),
          in_place(r.k.tokens <= few_tokens && r.q.tokens <= few_tokens && columns % L == 0) {}

    void select_head(std::int64_t at) {
        head = at;
        scratch.select_head(head - first_head);
    }

    const float* row(const Heads<const float>& x, std::int64_t t) const {
        return x.row(spread(head, job.state_heads, x.heads), t);
    }
    float beta(std::int64_t t) const { return r.beta.data ? row(r.beta, t)[0] : 1.f; }
    /// The chunk at hand goes token by token.
    bool by_steps() const { return n <= few_tokens || (r.gv.data && corrects()); }
    bool low_rank() const { return r.update == Update::low_rank; }
    bool corrects() const { return r.update != Update::additive; }

    /// Output heads of a state head.
    std::int64_t group() const { return job.out_heads / job.state_heads; }
    /// The query head that output head i of the group reads.
    std::int64_t query_head(std::int64_t i) const { return spread(head * group() + i, job.out_heads, r.q.heads); }

    float* state_panel(std::int64_t p) const { return scratch.state + p * W * round_up(dim, R); }
};

}  // namespace scan

ATTENTA_END
