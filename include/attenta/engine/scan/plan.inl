#pragma once

#include <attenta/core/machine.hpp>
#include <attenta/core/state_snapshots.hpp>
#include <attenta/engine/common/tuning.hpp>
#include <attenta/engine/scan/checks.inl>
#include <attenta/engine/scan/kernels.hpp>
#include <attenta/engine/scan/request.hpp>
#include <attenta/engine/scan/scratch.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace scan {

/// A map that takes rows together gets the heads of a token: tasks, which have a head each, would give it single rows.
inline void map_heads(Heads<const float>& x, FeatureMap& map, std::int64_t features, float* to,
                      std::span<const float> prefetch, Executor& executor) {
    constexpr std::int64_t together = heads_mapped_together;
    const std::int64_t stride = x.tokens * features, groups = ceil_div(x.heads, together);
    const std::size_t lines = prefetch.size() / static_cast<std::size_t>(x.tokens * groups);
    executor.parallel_for(x.tokens * groups, [&](std::int64_t i, int) {
        const std::int64_t token = i / groups, head = i % groups * together;
        map.together({.first = {map.parameters, x.dim, features, head, token},
                      .count = std::min(together, x.heads - head),
                      .x_stride = x.head_stride,
                      .y_stride = stride,
                      .heads = true,
                      .prefetch = prefetch.subspan(static_cast<std::size_t>(i) * lines, lines)},
                     x.row(head, token), to + head * stride + token * features);
    });
    x = {to, x.heads, x.tokens, features, stride, features};
    map = {};
}

/// How many heads of a task are interleaved: rows of token-major tensors are then read whole, not in pieces of a head each a
/// sequence apart. Their states and two chunks of rows stay in L2.
inline std::int64_t heads_together(const Job& job, std::int64_t threads) {
    const auto token_major = [](const auto& x) { return x.head_stride < x.token_stride; };
    if (job.r.k.tokens <= few_tokens || !token_major(job.r.k) || !token_major(job.r.v)) return 1;
    constexpr std::int64_t tensors = 4;
    const std::int64_t bytes = (job.dim_v + 2 * tensors * chunk) * job.dim * static_cast<std::int64_t>(sizeof(float)),
                       l2 = static_cast<std::int64_t>(tuning().scan.l2_share * static_cast<double>(l2_bytes())),
                       most = std::max<std::int64_t>(1, l2 / bytes),
                       groups = std::max(threads, ceil_div(job.state_heads, most));
    return ceil_div(job.state_heads, groups);
}

/// A run, shared among the threads: heads, columns of few heads, and chunks where threads are many.
class Run {
public:
    Run(const Request& r, Heads<float> o, LinearState& state, std::int64_t kept, Context& context)
        : executor_(context.executor()),
          threads_(executor_.concurrency()),
          few_(r.k.tokens <= few_tokens && r.q.tokens <= few_tokens) {
        const checks::Sizes sizes(r);
        job_ = {r, o, &state, nullptr, sizes.state_heads, sizes.out_heads, sizes.features, sizes.dim_v};
        job_.chunk_state_floats = ChunkState::floats(job_);
        job_.prefetch_to_l1 = tuning().prefetch_to_l1;
        job_.kept.count = kept;
        columns_ = job_.dim_v;
        if (!few_) share();
        together_ = columns_ < job_.dim_v || by_chunks_ ? 1 : heads_together(job_, threads_);
        reserve(context.workspace());
    }

    /// Few tokens, too few to share chunks, and more differ in their scratch.
    static void reserve_parts(const Request& r, Context& context) {
        LinearState none;
        const std::int64_t all = std::max(r.q.tokens, r.k.tokens);
        for (const std::int64_t most : {few_tokens, shared_tokens - 1, all}) {
            if (most > all) continue;
            Request part = r;
            part.q.tokens = std::min(r.q.tokens, most);
            part.k.tokens = part.v.tokens = std::min(r.k.tokens, most);
            const Run sized(part, {}, none, 0, context);
        }
    }

    /// The state's snapshots take up what comes.
    void keep_states(StateSnapshots& snapshots) {
        StatePool& pool = snapshots.begin();
        job_.kept.tokens = snapshots.tokens().data();
        job_.kept.matrices = pool.matrices();
        job_.kept.normalizers = pool.normalizer(0);
        job_.kept.half = pool.storage() == Dtype::bf16;
    }

    void run() {
        if (few_) map_rows();
        const Chunks chunks(job_.r);
        std::int64_t i = 0;
        if (by_chunks_) {
            const bool last_is_few = (job_.r.q.tokens - 1) % chunk < few_tokens;
            const std::int64_t end = chunks.all - (last_is_few ? 1 : 0);
            whole(0, chunks.before);
            for (i = chunks.before; i < end; i = job_.round_end) {
                job_.round_begin = i;
                job_.round_end = std::min(i + round_chunks(), end);
                round();
            }
        }
        whole(i, chunks.all);
    }

private:
    static constexpr std::int64_t panel = Scratch::most_width, task_channels = Scratch::most_lanes,
                                  shared_tokens = 2 * task_chunks * chunk;

    /// For the shortest time, in those of a head alone: every cut of columns repeats a third of a head's work, and by
    /// chunks it takes twice the work, most of that to bring states from one core to the other.
    void share() {
        const double repeated = tuning().scan.repeated_share, by_chunks = tuning().scan.by_chunks_work;
        const Request& r = job_.r;
        const std::int64_t panels = ceil_div(job_.dim_v, panel);
        double least = std::numeric_limits<double>::infinity();
        for (std::int64_t n = panels; n >= 1; --n) {
            const double part = static_cast<double>(n) / static_cast<double>(panels),
                         turns = static_cast<double>(ceil_div(job_.state_heads * ceil_div(panels, n), threads_)),
                         time = turns * (repeated + (1 - repeated) * part);
            if (time >= least) continue;
            least = time;
            columns_ = std::min(n * panel, job_.dim_v);
        }
        const bool independent = r.causal && r.update == Update::additive && !r.gv.data;
        by_chunks_ = independent && r.q.tokens >= shared_tokens &&
                     by_chunks * static_cast<double>(job_.state_heads) < least * static_cast<double>(threads_);
    }
    /// Two tasks for every thread.
    std::int64_t round_chunks() const { return task_chunks * ceil_div(2 * threads_, job_.state_heads); }

    void reserve(Workspace& workspace) {
        const Request& r = job_.r;
        const auto mapped = [&](const Heads<const float>& x, const FeatureMap& map) {
            return few_ && map.together ? x.heads * x.tokens * job_.dim : 0;
        };
        const auto take = [&](Arena c) {
            Arena scratch(nullptr);
            Scratch(scratch, job_, by_chunks_ ? job_.dim_v : columns_, together_);
            scratch_bytes_ = round_up(scratch.used(), 64);
            scratch_ = c.take<std::byte>(scratch_bytes_ * threads_);
            job_.normalizers = c.take<float>(r.normalizer ? job_.state_heads * job_.dim : 0);
            keys_ = c.take<float>(mapped(r.k, r.k_map));
            queries_ = c.take<float>(mapped(r.q, r.q_map));
            job_.chunk_states =
                c.take<float>(by_chunks_ ? (round_chunks() + 1) * job_.state_heads * job_.chunk_state_floats : 0);
            return c.used();
        };
        take(Arena(workspace.reserve(static_cast<std::size_t>(take(Arena(nullptr))))));
    }

    /// A map that takes rows together gets the heads of a token. Memory would be idle meanwhile: the first states may come.
    void map_rows() {
        const std::vector<float>& matrix = job_.state->matrix;
        const std::span<const float> states(
            matrix.data(), std::min(matrix.size(), static_cast<std::size_t>(tuning().scan.mapped_state_floats)));
        Request& r = job_.r;
        if (r.k_map.together) map_heads(r.k, r.k_map, job_.dim, keys_, states.first(states.size() / 2), executor_);
        if (r.q_map.together) map_heads(r.q, r.q_map, job_.dim, queries_, states.subspan(states.size() / 2), executor_);
    }

    void whole(std::int64_t begin, std::int64_t end) {
        if (begin == end) return;
        const std::int64_t cuts = ceil_div(job_.dim_v, columns_);
        executor_.parallel_for(ceil_div(job_.state_heads, together_) * cuts, [&](std::int64_t i, int thread) {
            const std::int64_t head = i / cuts * together_, column = i % cuts * columns_;
            run_task({.head_begin = head,
                      .head_end = std::min(head + together_, job_.state_heads),
                      .column_begin = column,
                      .column_end = std::min(column + columns_, job_.dim_v),
                      .chunk_begin = begin,
                      .chunk_end = end},
                     thread);
        });
        if (job_.r.normalizer)
            std::copy_n(job_.normalizers, job_.state->normalizer.size(), job_.state->normalizer.data());
    }

    void round() {
        chunks_of_round(Pass::chunk_states);
        const std::int64_t tasks = ceil_div(job_.dim, task_channels);
        executor_.parallel_for(tasks * job_.state_heads, [&](std::int64_t i, int thread) {
            Task task = all_columns(i / tasks, Pass::prefix_states);
            task.channel_begin = i % tasks * task_channels;
            task.channel_end = std::min(task.channel_begin + task_channels, job_.dim);
            run_task(task, thread);
        });
        chunks_of_round(Pass::outputs);
    }
    void chunks_of_round(Pass pass) {
        const std::int64_t begin = job_.round_begin, end = job_.round_end, tasks = ceil_div(end - begin, task_chunks);
        executor_.parallel_for(tasks * job_.state_heads, [&](std::int64_t i, int thread) {
            Task task = all_columns(i / tasks, pass);
            task.chunk_begin = begin + i % tasks * task_chunks;
            task.chunk_end = std::min(task.chunk_begin + task_chunks, end);
            run_task(task, thread);
        });
    }
    Task all_columns(std::int64_t head, Pass pass) const {
        return {.head_begin = head, .head_end = head + 1, .column_end = job_.dim_v, .pass = pass};
    }

    void run_task(const Task& task, int thread) const { task_(job_, task, scratch_ + thread * scratch_bytes_); }

    const TaskFunction task_ = scan_task();
    Executor& executor_;
    const std::int64_t threads_;
    const bool few_;
    Job job_;
    std::int64_t columns_ = 0, together_ = 1, scratch_bytes_ = 0;
    bool by_chunks_ = false;
    std::byte* scratch_ = nullptr;
    float *keys_ = nullptr, *queries_ = nullptr;
};

ATTENTA_INLINE void reserve(const Request& r, Context& context) { Run::reserve_parts(r, context); }

ATTENTA_INLINE void begin_state(const Request& r, LinearState& state) {
    if (!state.empty()) return;
    const checks::Sizes sizes(r);
    LinearState zeros(sizes.state_heads, sizes.features, sizes.dim_v);
    if (r.normalizer) zeros.normalizer.resize(static_cast<std::size_t>(zeros.heads * zeros.dim));
    zeros.weight.swap(state.weight);
    zeros.key_max.swap(state.key_max);
    state = std::move(zeros);
}

ATTENTA_INLINE void run(const Request& r, Heads<float> o, LinearState& state, Context& context) {
    StateSnapshots* const snapshots = state.snapshots.get();
    if (snapshots && !r.keeps_states) refuse_snapshots(r);
    const checks::Sizes sizes(r);
    const std::int64_t normalizer = r.normalizer ? sizes.state_heads * sizes.features : 0,
                       kept = snapshots ? snapshots->prepare(r.k.tokens, {sizes.state_heads, sizes.features,
                                                                          sizes.dim_v, normalizer, 0, r.key_maxima})
                                        : 0;
    Run call(r, o, state, kept, context);
    begin_state(r, state);
    if (snapshots) call.keep_states(*snapshots);
    call.run();
}

}  // namespace scan

ATTENTA_END
