// How a task of the few-query loop reads rows of K and V. All of it is chosen here, once.
#pragma once

#include <attenta/engine/attention/job.hpp>
#include <attenta/engine/few/scratch.hpp>
#include <attenta/engine/few/shape.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace attention {

/// Which row of a block is read after which, and by which kernels.
enum class RowOrder : std::uint8_t {
    cached,      ///< rows in the order of their tokens: K and V are in a cache
    streamed,    ///< rows from several places of the block in turn: K and V come from memory
    whole_rows,  ///< the same, one row after the other by a table of all of them (WholeRows)
};

struct Reading {
    RowOrder order = RowOrder::cached;
    std::int64_t streams = 1;     ///< places that rows are taken from in turn, which only memory likes
    bool interleaved = false;     ///< heads, whose rows are neighbours in memory, alternate: a few tokens of each
    bool long_dots = false;       ///< dot products are made in longer pieces of fewer rows
    std::int64_t value_step = 0;  ///< values of a head that are added at a time: the interleave step of values
    /// How many interleave steps before its own a row is prefetched; 0: never.
    std::int64_t key_steps_ahead = 0, value_steps_ahead = 0;

    std::int64_t heads_in_flight() const { return interleaved ? FewScratch::most_heads : 1; }
};

template <class Arch, int Rows>
std::int64_t value_step(const Job& job, bool from_memory, bool interleaved) {
    const KvView::Rows& v = job.kv.v;
    const FewTuning& tuning = job.tuning->few;
    const ValueStep& step = tuning.value_step;
    const auto bytes = [&] {
        constexpr bool dots = FewShape<Arch, Rows>::dots;
        if (!from_memory) return dots ? step.cached : step.cached_many;
        if (Rows >= 32) return step.many;
        if (!dots || v.dtype != Dtype::f32) return step.halves;
        return interleaved ? std::max(step.interleaved, Rows * v.row_bytes()) : step.streamed;
    };
    return std::clamp(bytes() / v.row_bytes(), tuning.least_values, tuning.most_values);
}

template <class Arch, int Rows>
Reading choose_reading(const Job& job, const Task& task) {
    using Shape = FewShape<Arch, Rows>;
    const KvView::Rows &k = job.kv.k, &v = job.kv.v;
    const FewTuning& tuning = job.tuning->few;
    const bool from_memory = come_from_memory(tuning, job.kv, task.sequence),
               floats = k.dtype == Dtype::f32 && v.dtype == Dtype::f32 && job.kv.tied == 0;
    const auto steps_ahead = [&](const KvView::Rows& side, std::int64_t step) {
        if (!from_memory && side.row_bytes() < tuning.long_row) return std::int64_t{0};
        return std::max<std::int64_t>(1, tuning.prefetch_distance / (side.row_bytes() * step));
    };
    Reading r;
    if (from_memory) {
        r.order = Shape::whole_rows_possible && tuning.whole_rows && floats ? RowOrder::whole_rows : RowOrder::streamed;
        r.streams = Shape::dots ? tuning.streams : tuning.streams_of_many;
    }
    r.interleaved = k.head_stride < k.token_stride && task.head_end - task.head_begin > 1;
    r.long_dots = r.order == RowOrder::streamed && tuning.long_dots;
    r.value_step = value_step<Arch, Rows>(job, from_memory, r.interleaved);
    r.key_steps_ahead = steps_ahead(k, Shape::score_step);
    r.value_steps_ahead = steps_ahead(v, r.value_step);
    return r;
}

}  // namespace attention

ATTENTA_END
