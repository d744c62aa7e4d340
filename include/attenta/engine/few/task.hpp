// A task of the few-query loop: plain data, and how the query rows of its heads begin and end.
#pragma once

#include <attenta/engine/attention/row_ends.hpp>
#include <attenta/engine/few/reading.hpp>
#include <attenta/engine/few/scratch.hpp>
#include <attenta/engine/few/shape.hpp>
#include <attenta/simd/kv_rows.hpp>
#include <attenta/simd/pack.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace attention {

/// A head and a block of keys. Queries are [part][vector][row][lane] for dot products, else [channel][row]; scores, which
/// become weights, are [token][row]; statistics and alpha have an element for each lane.
struct HeadBlock {
    std::int64_t head = 0, place = 0;  ///< of K and V, and its place among the heads in flight
    KeyBlock keys;
    Cover cover = Cover::all;
    const QueryRow* row = nullptr;
    const float* q = nullptr;
    float *s = nullptr, *m = nullptr, *l = nullptr, *alpha = nullptr, *o = nullptr;
};

/// What all steps of a task read. `Rows`: the query rows of a head, padded to a power of two.
template <class Arch, int Rows>
struct FewTask {
    using Shape = FewShape<Arch, Rows>;

    FewTask(const Job& its_job, const Task& its_task, std::byte* memory)
        : job(its_job),
          task(its_task),
          heads(task.head_end - task.head_begin),
          rows(task.row_end - task.row_begin),
          dim(job.kv.key_dim()),
          dim_v(job.kv.v.dim),
          q_stride(round_up(dim, Shape::L)),
          o_stride(round_up(dim_v, Shape::L)),
          reading(choose_reading<Arch, Rows>(job, task)),
          arena(memory),
          scratch(arena, job.kv, heads, Rows) {}

    /// `n`: its scores are the n-th of those in flight.
    HeadBlock head_block(std::int64_t head, std::int64_t place, const KeyBlock& keys, std::int64_t n) const {
        const FewScratch& x = scratch;
        const std::int64_t h = head - task.head_begin;
        HeadBlock b{head,
                    place,
                    keys,
                    Cover::all,
                    x.row + h * Rows,
                    x.q + h * Rows * q_stride,
                    x.s + n * Shape::s_stride,
                    x.m + h * Shape::width,
                    x.l + h * Shape::width,
                    x.alpha + place * Shape::width,
                    x.o + h * Rows * o_stride};
        if (job.mask) b.cover = job.mask.classify(b.row[0], b.row[rows - 1], keys);
        return b;
    }

    const Job& job;
    const Task& task;
    const std::int64_t heads, rows, dim, dim_v, q_stride, o_stride;
    const Reading reading;
    Arena arena;
    FewScratch scratch;
};

/// Queries of a head, padded and in the order of its kernels.
template <class Arch, int Rows>
void load_queries(const FewTask<Arch, Rows>& x, const float* (&from)[Rows], float* q) {
    constexpr int L = static_cast<int>(simd::lanes<Arch>), part = FewShape<Arch, Rows>::dot_part;
    if constexpr (FewShape<Arch, Rows>::dots) {
        for (int r = 0; r < Rows; r += part)
            simd::interleave_rows<Arch, part>(from + r, x.dim, x.job.scale, q + r * x.q_stride);
    } else {
        std::fill(from + x.rows, from + Rows, from[0]);  // nobody looks at their results
        for (int r = 0; r < x.rows; r += L) simd::pack_queries<Arch, L, Rows>(from + r, x.dim, x.job.scale, q + r);
    }
}

/// All rows before the first key.
template <class Arch, int Rows>
void begin_rows(const FewTask<Arch, Rows>& x) {
    constexpr std::int64_t width = FewShape<Arch, Rows>::width;
    const FewScratch& to = x.scratch;
    std::fill_n(to.m, x.heads * width, minus_infinity);
    std::fill_n(to.l, x.heads * width, 0.f);
    std::fill_n(to.o, x.heads * Rows * x.o_stride, 0.f);
    for (std::int64_t h = 0; h < x.heads; ++h) {
        const float* q[Rows] = {};
        for (std::int64_t r = 0; r < x.rows; ++r) {
            const QueryRow row = x.task.query_row(x.task.head_begin + h, x.task.row_begin + r);
            to.row[h * Rows + r] = row;
            q[r] = x.job.q.row(row.head, x.task.q_begin + row.index);
            // Lanes of further tokens stay empty: the sink counts once.
            const RowStatistics first = first_statistics(x.job, x.task, row);
            to.m[h * width + r] = first.max;
            to.l[h * width + r] = first.sum;
        }
        load_queries(x, q, to.q + h * Rows * x.q_stride);
    }
}

/// Writes the results of all rows. Returns whether all outputs are finite.
template <class Arch, int Rows>
bool finish_rows(const FewTask<Arch, Rows>& x) {
    constexpr std::int64_t width = FewShape<Arch, Rows>::width;
    const FewScratch& from = x.scratch;
    bool finite = true;
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t r = 0; r < x.rows; ++r) {
            RowStatistics row{from.m[h * width + r], 0.f};
            for (std::int64_t u = r; u < width; u += Rows) row.sum += from.l[h * width + u];
            const std::int64_t part = x.task.part < 0 ? -1 : x.task.part + h * x.rows + r;
            const float* const o = from.o + (h * Rows + r) * x.o_stride;
            const float factor = x.job.local_weights ? 1.f : row.output_factor();
            if (!write_row<Arch>(x.job, x.task, from.row[h * Rows + r], row, factor, o, part)) finite = false;
        }
    return finite;
}

}  // namespace attention

ATTENTA_END
