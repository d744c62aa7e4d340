#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/attention/checks.inl>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/merge.hpp>
#include <attenta/engine/common/tuning.hpp>
#include <attenta/engine/few/kernels.hpp>
#include <attenta/engine/few/scratch.hpp>
#include <attenta/engine/tile/kernels.hpp>
#include <attenta/engine/tile/scratch.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace attention {

ATTENTA_INLINE Plan::Plan(const Request& r, Context& context)
    : isa_(active_isa()), context_(&context), masks_(r.masks), edits_(r.edits), weight_edits_(r.weight_edits) {
    checks::check_request(r);
    checks::resolve(r.function, "edits", edits_, isa_, calls_);
    checks::resolve(r.function, "weight_edits", weight_edits_, isa_, calls_);
    job_.q = r.q;
    job_.kv = r.kv;
    job_.group = r.q.heads / r.kv.heads;
    job_.scale = r.scale;
    job_.mask = {masks_.data(), static_cast<std::int64_t>(masks_.size())};
    job_.edits = calls_.data();
    job_.edit_count = static_cast<std::int64_t>(edits_.size());
    job_.weight_edits = calls_.data() + edits_.size();
    job_.weight_edit_count = static_cast<std::int64_t>(weight_edits_.size());
    job_.sink = r.sink.empty() ? nullptr : r.sink.data();
    job_.values = r.values;
    job_.tuning = &tuning();

    std::int64_t q_begin = 0;
    for (std::int64_t s = 0; s < r.kv.sequences; ++s) {
        const std::int64_t queries = r.q_lengths.empty() ? r.q.tokens : r.q_lengths[static_cast<std::size_t>(s)];
        const std::int64_t keys = r.kv.length(s);
        Task t;
        t.sequence = s;
        t.q_begin = q_begin;
        t.q_offset = checks::first_position(r, s, queries);
        t.head_end = r.kv.heads;
        t.row_end = queries * job_.group;
        t.key_end = keys;
        schedule(t, r.two_passes);
        q_begin += r.q_step > 0 ? r.q_step : queries;
    }
    // The heaviest first, so that no thread is left with one at the end.
    const auto cost = [&](const Task& t) {
        const Interval seen = visible_keys(t);
        return (t.row_end - t.row_begin) * (t.head_end - t.head_begin) * (seen.end - seen.begin);
    };
    if (tasks_.size() > 1 && context.executor().concurrency() > 1)
        std::stable_sort(tasks_.begin(), tasks_.end(), [&](const Task& a, const Task& b) { return cost(a) > cost(b); });
    reserve_scratch();
}

/// Keys that some row of the task may see.
ATTENTA_INLINE Interval Plan::visible_keys(const Task& t) const {
    const Interval all{t.key_begin, t.key_end};
    if (!job_.mask || job_.kv.positions) return all;
    Interval seen;
    for (std::int64_t h = t.head_begin; h < t.head_end; ++h)
        seen = hull(seen,
                    job_.mask.hull(t.query_row(h, t.row_begin, job_.group), t.query_row(h, t.row_end - 1, job_.group)));
    seen = intersect(all, seen);
    return seen.empty() ? Interval{t.key_begin, t.key_begin} : seen;
}

/// Tasks of one sequence, by its sizes alone.
ATTENTA_INLINE void Plan::schedule(Task t, bool two_passes) {
    if (t.row_end == 0) return;
    const std::int64_t rows = t.row_end, heads = t.head_end, dim = job_.kv.k.dim + job_.kv.v.dim;
    if (two_passes || rows > few_rows) {
        const std::int64_t step = two_passes ? rows : rows_per_task(job_.tuning->tile, job_.kv.k.dim, job_.kv.v.dim);
        for (t.head_begin = 0; t.head_begin < heads; ++t.head_begin)
            for (t.row_begin = 0; t.row_begin < rows; t.row_begin += step) {
                t.head_end = t.head_begin + 1;
                t.row_end = std::min(t.row_begin + step, rows);
                tasks_.push_back(t);
            }
    } else {
        const FewTuning& few = job_.tuning->few;
        const std::int64_t bytes =
            come_from_memory(few, job_.kv, t.sequence) ? few.streamed_task_bytes : few.cached_task_bytes;
        const std::int64_t per_task = std::clamp<std::int64_t>(bytes / (4 * padded_rows(rows) * dim), 1, heads);
        split(t, per_task, std::max(few.part_keys, round_up(few.part_bytes / (4 * heads * dim), key_block)));
    }
}

/// Cuts the keys of a sequence with few rows into parts of whole blocks.
ATTENTA_INLINE void Plan::split(const Task& sequence, std::int64_t heads_per_task, std::int64_t least_keys) {
    const Interval seen = visible_keys(sequence);
    const std::int64_t begin = seen.begin / key_block * key_block, rows = sequence.row_end;
    const std::int64_t length =
        std::max(least_keys, round_up(ceil_div(seen.end - begin, job_.tuning->few.most_parts), key_block));
    const std::int64_t parts = std::max<std::int64_t>(1, ceil_div(seen.end - begin, length));
    for (std::int64_t p = 0; p < parts; ++p)
        for (std::int64_t h = 0; h < sequence.head_end; h += heads_per_task) {
            Task t = sequence;
            t.few = true;
            t.head_begin = h;
            t.head_end = std::min(h + heads_per_task, sequence.head_end);
            t.key_begin = std::max(seen.begin, begin + p * length);
            t.key_end = std::min(seen.end, begin + (p + 1) * length);
            t.sink = p == 0;
            if (parts > 1) t.part = part_rows_ + (p * sequence.head_end + h) * rows;
            tasks_.push_back(t);
        }
    if (parts == 1) return;
    for (std::int64_t h = 0; h < sequence.head_end; ++h)
        for (std::int64_t r = 0; r < rows; ++r) {
            const QueryRow row = sequence.query_row(h, r, job_.group);
            merges_.push_back(
                {row.head, sequence.q_begin + row.index, part_rows_ + h * rows + r, sequence.head_end * rows, parts});
        }
    part_rows_ += parts * sequence.head_end * rows;
}

ATTENTA_INLINE void Plan::reserve_scratch() {
    const std::int64_t dim = job_.kv.k.dim, dim_v = job_.kv.v.dim;
    std::int64_t slot = 0;
    for (const Task& t : tasks_) {
        Arena c(nullptr);
        const std::int64_t rows = t.row_end - t.row_begin;
        if (t.few)
            FewScratch(c, dim, dim_v, t.head_end - t.head_begin, padded_rows(rows));
        else
            TileScratch(c, dim, dim_v, std::min(rows, rows_per_task(job_.tuning->tile, dim, dim_v)));
        slot = std::max(slot, c.used());
    }
    slot_bytes_ = static_cast<std::size_t>(round_up(slot, 64));
    const auto slots = static_cast<std::size_t>(context_->executor().concurrency());
    scratch_bytes_ = slots * slot_bytes_ + static_cast<std::size_t>(part_rows_) * sizeof(RowStatistics) +
                     static_cast<std::size_t>(part_rows_ * dim_v) * sizeof(float);
    if (scratch_bytes_ > 0) context_->workspace().reserve(scratch_bytes_);
}

ATTENTA_INLINE void Plan::run(Heads<const float> q, const KvView& kv, Heads<float> o, float* lse,
                              Statistics statistics) const {
    std::byte* scratch = context_->workspace().data();
    Executor& executor = context_->executor();
    Job job = job_;
    job.q = q;
    job.kv = kv;
    job.o = o;
    job.lse = lse;
    job.statistics = statistics.found;
    job.known = statistics.known;
    job.part_statistics =
        reinterpret_cast<RowStatistics*>(scratch + static_cast<std::size_t>(executor.concurrency()) * slot_bytes_);
    job.part_o = reinterpret_cast<float*>(job.part_statistics + part_rows_);
    job.phases = context_->phases();

    run_tasks(executor, static_cast<std::int64_t>(tasks_.size()), [&](std::int64_t i, int slot) {
        const Task& t = tasks_[static_cast<std::size_t>(i)];
        (t.few ? few_task(t, isa_) : tile_task(isa_))(job, t, scratch + static_cast<std::size_t>(slot) * slot_bytes_);
    });
    const MergeFunction merge = merge_row(isa_);
    const auto merges = static_cast<std::int64_t>(merges_.size());
    run_tasks(executor, ceil_div(merges, rows_per_merge), [&](std::int64_t i, int) {
        Stopwatch watch(job.phases);
        for (std::int64_t n = i * rows_per_merge; n < std::min(merges, (i + 1) * rows_per_merge); ++n) {
            const Merge& m = merges_[static_cast<std::size_t>(n)];
            const RowStatistics* first = job.part_statistics + m.first;
            merge(job.part_o + m.first * kv.v.dim, m.step * kv.v.dim, &first->max, &first->sum, 2 * m.step, m.parts,
                  job.values ? kv.v.dim : 0, job.values ? o.row(m.head, m.token) : nullptr,
                  lse ? lse + m.head * q.tokens + m.token : nullptr);
        }
        watch.lap(Phase::merge);
    });
}

}  // namespace attention

ATTENTA_END
