// How a row begins and where its results go, in both loops.
#pragma once

#include <attenta/engine/attention/job.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/row_statistics.hpp>
#include <attenta/simd/score_rows.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace attention {

/// Before the first key: known from an earlier pass, left by the task before, or the sink alone.
inline RowStatistics first_statistics(const Job& job, const Task& task, const QueryRow& row) {
    const std::int64_t at = row.head * job.q.tokens + task.q_begin + row.index;
    if (job.known) return job.known[at];
    if (job.local_weights) return {0, 0};
    if (task.chain) return job.statistics[at];
    const float sink = job.sink && task.sink ? job.sink[row.head] : minus_infinity;
    return {sink, sink == minus_infinity ? 0.f : 1.f};
}

/// Row `part` of those of parts, or with -1 the caller's row: its statistics, and factor · o. Returns whether all outputs are
/// finite.
template <class Arch>
bool write_row(const Job& job, const Task& task, const QueryRow& row, RowStatistics statistics, float factor,
               const float* o, std::int64_t part = -1) {
    const std::int64_t token = task.q_begin + row.index, at = row.head * job.q.tokens + token, dim_v = job.kv.v.dim;
    if (part >= 0) {
        job.part_statistics[part] = statistics;
    } else {
        if (job.lse) job.lse[at] = statistics.lse();
        if (job.statistics) job.statistics[at] = statistics;
    }
    if (!job.values) return true;
    return simd::finish_row<Arch>(part >= 0 ? job.part_o + part * dim_v : job.o.row(row.head, token), o, dim_v, factor);
}

}  // namespace attention

ATTENTA_END
