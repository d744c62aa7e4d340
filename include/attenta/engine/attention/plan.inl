#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/attention/checks.inl>
#include <attenta/engine/attention/list_plan.inl>
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

ATTENTA_INLINE const Plan& plan(const Request& request, Context& context) {
    Plan& own = context.kept<Plan>();
    own.make(request, context);
    return own;
}

ATTENTA_INLINE void Plan::clear() {
    const auto empty = [](auto&... vectors) { (vectors.clear(), ...); };
    empty(calls_, tasks_, order_, merges_, chains_, chain_tasks_, heads_of_keys_, bias_, key_gain_, value_gain_,
          counted_);
    job_ = {};
    list_memories_ = 0;
    listed_keys_ = run_rows_ = part_rows_ = 0;
}

ATTENTA_INLINE void Plan::make(const Request& r, Context& context) {
    checks::check_request(r);
    checks::check_more(r);
    checks::check_local_weights(r);
    clear();
    isa_ = active_isa();
    context_ = &context;
    masks_.assign(r.masks.begin(), r.masks.end());
    edits_.assign(r.edits.begin(), r.edits.end());
    weight_edits_ = r.weight_edits;
    more_.assign(r.more.begin(), r.more.end());
    in_order_ = r.in_order;
    job_.q = r.q;
    job_.kv = r.kv;
    job_.scale = r.scale;
    job_.sink = r.sink.empty() ? nullptr : r.sink.data();
    job_.output_gate = r.output_gate;
    job_.values = r.values;
    job_.local_weights = r.local_weights;
    job_.tuning = &tuning();

    if (!r.lists.empty()) counted_.resize(r.lists.size());
    run_rows_ = r.q.heads * r.q.tokens * (r.q_step > 0 ? r.kv.sequences : 1);
    std::int64_t q_begin = 0;
    for (std::int64_t s = 0; s < r.kv.sequences; ++s) {
        const std::int64_t queries = r.q_lengths.empty() ? r.q.tokens : r.q_lengths[static_cast<std::size_t>(s)];
        Task t;
        t.sequence = s;
        t.q_begin = q_begin;
        t.q_offset = checks::first_position(r, s, queries);
        t.head_end = r.kv.heads;
        t.group = t.heads_per_query = r.q.heads / r.kv.heads;
        t.row_end = queries * t.group;
        t.key_end = r.kv.length(s);
        q_begin += r.q_step > 0 ? r.q_step : queries;
        if (!more_.empty())
            schedule_views(t);
        else if (r.kv.differs_by_head())
            schedule_heads(t, r.two_passes);
        else if (r.lists.empty() || is_everything(t, r.lists[static_cast<std::size_t>(s)]))
            schedule(t, r.two_passes);
        else
            schedule_lists(t, r.lists[static_cast<std::size_t>(s)]);
    }
    finish_lists();
    checks::resolve(r.function, "edits", edits_, isa_, calls_);
    checks::resolve(r.function, "weight_edits", weight_edits_, isa_, calls_);
    job_.edits = calls_.data();
    job_.edit_count = static_cast<std::int64_t>(edits_.size());
    job_.weight_edits = calls_.data() + edits_.size();
    job_.weight_edit_count = static_cast<std::int64_t>(weight_edits_.size());
    job_.mask = {masks_.data(), static_cast<std::int64_t>(masks_.size())};
    order_tasks();
    reserve_scratch();
}

/// The heaviest first, so that no thread is left with one at the end.
ATTENTA_INLINE void Plan::order_tasks() {
    if (tasks_.size() < 2 || context_->executor().concurrency() < 2) return;
    for (const Task& t : tasks_) {
        const Interval seen = visible_keys(t);
        const std::int64_t cost = (t.row_end - t.row_begin) * (t.head_end - t.head_begin) * (seen.end - seen.begin);
        order_.push_back({-cost, order_.size()});
    }
    std::sort(order_.begin(), order_.end());
}

/// Keys that some row of the task may see.
ATTENTA_INLINE Interval Plan::visible_keys(const Task& t) const {
    const Interval all{t.key_begin, t.key_end};
    if (masks_.empty() || kv_of(t).positions || t.listed || t.row_begin == t.row_end) return all;
    const MaskSet masks{masks_.data(), static_cast<std::int64_t>(masks_.size())};
    Interval seen;
    for (std::int64_t h = t.head_begin; h < t.head_end; ++h)
        seen = hull(seen, masks.hull(t.query_row(h, t.row_begin), t.query_row(h, t.row_end - 1)));
    seen = intersect(all, seen);
    return seen.empty() ? Interval{t.key_begin, t.key_begin} : seen;
}

/// Tasks of the rows of one sequence, or of one list, by their sizes alone.
ATTENTA_INLINE void Plan::schedule(const Task& all, bool two_passes) {
    const std::int64_t rows = all.row_end - all.row_begin;
    if (rows == 0) return;
    if (!two_passes && rows <= few_rows) return schedule_few({&all, 1}, !in_order_);
    const std::int64_t step = two_passes ? rows : rows_per_task(job_.tuning->tile, job_.kv.key_dim(), job_.kv.v.dim);
    for (std::int64_t h = all.head_begin; h < all.head_end; ++h)
        for (std::int64_t r = all.row_begin; r < all.row_end; r += step) {
            Task t = all;
            t.head_begin = h;
            t.head_end = h + 1;
            t.row_begin = r;
            t.row_end = std::min(r + step, all.row_end);
            tasks_.push_back(t);
        }
}

/// Heads of K and V that hold different tokens are tasks of their own.
ATTENTA_INLINE void Plan::schedule_heads(const Task& all, bool two_passes) {
    Task t = all;
    for (std::int64_t h = 0; h < all.head_end; ++h) {
        t.head_begin = h;
        t.head_end = h + 1;
        t.key_end = job_.kv.length(all.sequence, h);
        schedule(t, two_passes);
    }
}

/// Keys of a part: whole blocks.
ATTENTA_INLINE std::int64_t Plan::part_length(std::int64_t keys, std::int64_t least) const {
    return std::max(least, round_up(ceil_div(keys, job_.tuning->few.most_parts), key_block));
}

/// Rows of one sequence and the keys of several views: few rows in parts, which are merged; many in chains, from view to
/// view.
ATTENTA_INLINE void Plan::schedule_views(const Task& all) {
    const std::int64_t rows = all.row_end - all.row_begin;
    if (rows == 0) return;
    const auto views = static_cast<int>(more_.size()) + 1;
    const auto differs = [&](int v) {
        Task t;
        t.view = v;
        return kv_of(t).differs_by_head();
    };
    const bool few = rows <= few_rows && !in_order_;
    bool together = few;
    for (int v = 0; v < views; ++v) together = together && !differs(v);
    const std::int64_t heads = all.head_end, at_once = together ? heads : 1,
                       step = few ? rows : rows_per_task(job_.tuning->tile, job_.kv.key_dim(), job_.kv.v.dim);
    std::array<Task, most_views> of_views;
    const auto tasks = std::span(of_views).first(static_cast<std::size_t>(views));
    for (std::int64_t h = 0; h < heads; h += at_once)
        for (std::int64_t r = 0; r < rows; r += step) {
            for (int v = 0; v < views; ++v) {
                Task& t = tasks[static_cast<std::size_t>(v)] = all;
                t.view = v;
                t.head_begin = h;
                t.head_end = h + at_once;
                t.row_begin = r;
                t.row_end = std::min(r + step, rows);
                t.key_end = together ? kv_of(t).length(all.sequence) : kv_of(t).length(all.sequence, h);
            }
            if (few) {
                schedule_few(tasks, true);
                continue;
            }
            const std::size_t first = chain_tasks_.size();
            for (Task& t : tasks) {
                t.chain = true;
                chain_tasks_.push_back(t);
            }
            chains_.push_back({first, chain_tasks_.size(), tasks[0]});
        }
}

/// Few rows: heads together as far as their scratch stays near, keys in parts, so that there is parallel work. `views`: the
/// same rows with the keys of each view.
ATTENTA_INLINE void Plan::schedule_few(std::span<const Task> views, bool may_split) {
    const FewTuning& few = job_.tuning->few;
    const Task& rows_of = views[0];
    const std::int64_t rows = rows_of.row_end - rows_of.row_begin, heads = rows_of.head_end - rows_of.head_begin,
                       dim = job_.kv.key_dim() + job_.kv.v.dim;
    const std::int64_t least = std::max(few.part_keys, round_up(few.part_bytes / (4 * heads * dim), key_block));
    struct Cut {
        Interval seen;
        std::int64_t begin, length, parts;
    };
    const auto cut = [&](const Task& all) {
        const Interval seen = visible_keys(all);
        const std::int64_t begin = all.listed ? seen.begin : seen.begin / key_block * key_block,
                           keys = seen.end - begin;
        const std::int64_t length = may_split ? part_length(keys, least) : std::max<std::int64_t>(keys, 1);
        return Cut{seen, begin, length, ceil_div(keys, length)};
    };
    std::array<Cut, most_views> cuts;
    std::int64_t parts = 0;
    for (std::size_t v = 0; v < views.size(); ++v) {
        cuts[v] = cut(views[v]);
        parts += cuts[v].parts;
    }
    parts = std::max<std::int64_t>(1, parts);
    std::int64_t p = 0;
    for (std::size_t v = 0; v < views.size(); ++v) {
        const Task& all = views[v];
        const Cut& c = cuts[v];
        const std::int64_t bytes =
            come_from_memory(few, kv_of(all), all.sequence) ? few.streamed_task_bytes : few.cached_task_bytes;
        const std::int64_t per_task = std::clamp<std::int64_t>(bytes / (4 * padded_rows(rows) * dim), 1, heads);
        Task part = all;
        part.few = true;
        // Rows without any key have a result, too.
        const std::int64_t of_view = std::max<std::int64_t>(c.parts, v + 1 == views.size() && p == 0 ? 1 : 0);
        for (std::int64_t i = 0; i < of_view; ++i, ++p) {
            part.key_begin = std::max(c.seen.begin, c.begin + i * c.length);
            part.key_end = std::min(c.seen.end, c.begin + (i + 1) * c.length);
            part.sink = p == 0;
            for (std::int64_t h = 0; h < heads; h += per_task) {
                Task t = part;
                t.head_begin = all.head_begin + h;
                t.head_end = std::min(t.head_begin + per_task, all.head_end);
                if (parts > 1) t.part = part_rows_ + (p * heads + h) * rows;
                tasks_.push_back(t);
            }
            part.listed = part.listed.behind(part.key_end - part.key_begin);
        }
    }
    if (parts == 1) return;
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t r = 0; r < rows; ++r) {
            const QueryRow row = rows_of.query_row(rows_of.head_begin + h, rows_of.row_begin + r);
            merges_.push_back({row.head, rows_of.q_begin + row.index, part_rows_ + h * rows + r, heads * rows, parts});
        }
    part_rows_ += parts * heads * rows;
}

ATTENTA_INLINE void Plan::reserve_scratch() {
    const std::int64_t dim = job_.kv.key_dim(), dim_v = job_.kv.v.dim;
    std::int64_t slot = 0;
    const auto reserve = [&](const Task& t) {
        Arena c(nullptr);
        const std::int64_t rows = t.row_end - t.row_begin;
        if (t.few)
            FewScratch(c, kv_of(t), t.head_end - t.head_begin, padded_rows(rows));
        else
            TileScratch(c, kv_of(t), std::min(rows, rows_per_task(job_.tuning->tile, dim, dim_v)));
        slot = std::max(slot, c.used());
    };
    for (const Task& t : tasks_) reserve(t);
    for (const Task& t : chain_tasks_) reserve(t);
    slot_bytes_ = static_cast<std::size_t>(round_up(slot, 64));
    const auto slots = static_cast<std::size_t>(context_->executor().concurrency());
    scratch_bytes_ = slots * slot_bytes_ + static_cast<std::size_t>(part_rows_) * sizeof(RowStatistics) +
                     static_cast<std::size_t>(part_rows_ * dim_v) * sizeof(float);
    if (!chains_.empty()) scratch_bytes_ += static_cast<std::size_t>(run_rows_) * sizeof(RowStatistics);
    if (scratch_bytes_ > 0) context_->workspace().reserve(scratch_bytes_);
}

/// Of whole rows, that have just been written.
ATTENTA_INLINE void Plan::gate_outputs(const Job& job, const Task& rows) const {
    const Heads<const float>& gate = job.output_gate;
    if (!gate.data || !job.values) return;
    const GateFunction multiply = gate_output_row(isa_);
    for (std::int64_t head = rows.head_begin; head < rows.head_end; ++head)
        for (std::int64_t r = rows.row_begin; r < rows.row_end; ++r) {
            const QueryRow row = rows.query_row(head, r);
            const std::int64_t token = rows.q_begin + row.index;
            multiply(gate.row(row.head, token), nullptr, gate.dim, job.kv.v.dim, job.o.row(row.head, token));
        }
}

ATTENTA_INLINE void Plan::run(Heads<const float> q, const KvView& kv, std::span<const KvView> more, Heads<float> o,
                              float* lse, Statistics statistics, const float* output_gate) const {
    std::byte* scratch = context_->workspace().data();
    Executor& executor = context_->executor();
    Job job = job_;
    job.q = q;
    job.kv = kv;
    job.o = o;
    job.lse = lse;
    if (output_gate) job.output_gate.data = output_gate;
    job.statistics = statistics.found;
    job.known = statistics.known;
    job.scores = statistics.scores;
    job.scores_stride = statistics.scores_stride;
    job.part_statistics =
        reinterpret_cast<RowStatistics*>(scratch + static_cast<std::size_t>(executor.concurrency()) * slot_bytes_);
    job.part_o = reinterpret_cast<float*>(job.part_statistics + part_rows_);
    job.phases = context_->phases();
    if (!chains_.empty() && !statistics.found)
        job.statistics = reinterpret_cast<RowStatistics*>(job.part_o + part_rows_ * kv.v.dim);

    Job jobs[most_views];
    jobs[0] = job;
    for (std::size_t i = 0; i < more.size(); ++i) {
        jobs[i + 1] = job;
        jobs[i + 1].kv = more[i];
    }

    // Chains are the longest pieces of work: they come first.
    const auto chains = static_cast<std::int64_t>(chains_.size());
    run_tasks(executor, chains + static_cast<std::int64_t>(tasks_.size()), [&](std::int64_t i, int slot) {
        std::byte* const memory = scratch + static_cast<std::size_t>(slot) * slot_bytes_;
        if (i < chains) {
            const Chain& chain = chains_[static_cast<std::size_t>(i)];
            run_chain(jobs, chain, memory);
            return gate_outputs(job, chain.rows);
        }
        const auto n = static_cast<std::size_t>(i - chains);
        const Task& t = tasks_[order_.empty() ? n : order_[n].second];
        (t.few ? few_task(t, isa_) : tile_task(isa_))(jobs[t.view], t, memory);
        if (t.part < 0) gate_outputs(job, t);
    });
    const MergeFunction merge = merge_row(isa_);
    const auto merges = static_cast<std::int64_t>(merges_.size());
    run_tasks(executor, ceil_div(merges, rows_per_merge), [&](std::int64_t i, int) {
        Stopwatch watch(job.phases);
        for (std::int64_t n = i * rows_per_merge; n < std::min(merges, (i + 1) * rows_per_merge); ++n) {
            const Merge& m = merges_[static_cast<std::size_t>(n)];
            const RowStatistics* first = job.part_statistics + m.first;
            const float* const parts = job.part_o + m.first * kv.v.dim;
            float* const to = job.values ? o.row(m.head, m.token) : nullptr;
            const std::int64_t step = m.step * kv.v.dim, dim_v = job.values ? kv.v.dim : 0,
                               at = m.head * q.tokens + m.token;
            RowStatistics row{0, 0};
            if (job.local_weights) {
                if (to) sum_row_parts(isa_)(parts, step, m.parts, dim_v, to);
                for (std::int64_t p = 0; p < m.parts; ++p) row.sum += first[p * m.step].sum;
            } else {
                row = merge(parts, step, &first->max, &first->sum, 2 * m.step, m.parts, dim_v, to);
            }
            if (job.output_gate.data && to) {
                const Heads<const float>& gate = job.output_gate;
                gate_output_row(isa_)(gate.row(m.head, m.token), nullptr, gate.dim, kv.v.dim, to);
            }
            if (lse) lse[at] = row.lse();
            if (statistics.found) statistics.found[at] = row;
        }
        watch.lap(Phase::merge);
    });
}

}  // namespace attention

ATTENTA_END
