#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/core/machine.hpp>
#include <attenta/engine/backend_table.hpp>
#include <attenta/engine/scan.hpp>
#include <attenta/engine/scan/scratch.hpp>
#include <attenta/engine/tile.inl>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace scan {

namespace checks {

using tile::checks::text;

inline std::string shape(std::int64_t a, std::int64_t b, std::int64_t c) {
    std::string s(1, '[');
    return s.append(text(a)).append(", ").append(text(b)).append(", ").append(text(c)).append(1, ']');
}

/// Heads that feed the state and heads that read it, and the widths of the state.
struct Sizes {
    std::int64_t state_heads, out_heads, features, dim_v;
    explicit Sizes(const Request& r)
        : state_heads(r.state_heads > 0 ? r.state_heads : std::max(r.k.heads, r.v.heads)),
          out_heads(std::max(r.q.heads, state_heads)),
          features(r.features > 0 ? r.features : r.k.dim),
          dim_v(r.v.dim) {}
};

inline void check_heads(const char* f, const char* name, std::int64_t heads, std::int64_t of, const char* whose) {
    if (heads < 1) fail(f, std::string(name) + " has " + text(heads) + " heads, needs at least 1");
    if (of % heads != 0)
        fail(f, std::string(name) + " has " + text(heads) + " heads, needs a divisor of the " + text(of) + " " + whose);
}

inline void check_qkv(const Request& r, const Sizes& z) {
    const char* f = r.function;
    const std::string q = r.q_name, k = r.k_name, v = r.v_name;
    for (const auto& [name, x] : {std::pair{q, r.q}, {k, r.k}, {v, r.v}}) {
        if (x.tokens < 1) fail(f, name + " has " + text(x.tokens) + " tokens, needs at least 1");
        if (x.dim < 1) fail(f, name + " has " + text(x.dim) + " features, needs at least 1");
        if (x.head_stride < 0 || x.token_stride < 0)
            fail(f,
                 name + " has strides " + text(x.head_stride) + " and " + text(x.token_stride) + ", needs at least 0");
    }
    if (r.v.tokens != r.k.tokens)
        fail(f, v + " has " + text(r.v.tokens) + " tokens, " + k + " has " + text(r.k.tokens));
    if (r.q.dim != r.k.dim) fail(f, k + " has " + text(r.k.dim) + " features, " + q + " has " + text(r.q.dim));
    check_heads(f, r.k_name, r.k.heads, z.state_heads, "state heads");
    check_heads(f, r.v_name, r.v.heads, z.state_heads, "state heads");
    check_heads(f, r.q_name, r.q.heads, z.out_heads, "output heads");
    if (z.out_heads % z.state_heads != 0)
        fail(f,
             q + " has " + text(r.q.heads) + " heads, needs a multiple of the " + text(z.state_heads) + " state heads");
}

inline void check_gates(const Request& r, const Sizes& z) {
    const char* f = r.function;
    const std::int64_t tokens = r.k.tokens;
    if (r.g.data && (r.g.heads != z.state_heads || (r.g.tokens != tokens && r.g.tokens != 1) ||
                     (r.g.dim != 1 && (r.g.dim != z.features || r.g.tokens != tokens))))
        fail(f, "g is " + shape(r.g.heads, r.g.tokens, r.g.dim) + ", needs " + shape(z.state_heads, 1, 1) + ", " +
                    shape(z.state_heads, tokens, 1) + " or " + shape(z.state_heads, tokens, z.features));
    if (r.gv.data) check_shape(f, "gv", r.gv, z.state_heads, tokens, z.dim_v);
    if (r.beta.data) check_shape(f, "beta", r.beta, z.state_heads, tokens, 1);
    if (r.u.data) check_shape(f, "u", r.u, z.state_heads, 1, z.features);
    if (r.a.data) check_shape(f, "a", r.a, z.state_heads, tokens, z.features);
    if (r.b.data) check_shape(f, "b", r.b, z.state_heads, tokens, z.features);
}

inline void check_state(const Request& r, const Sizes& z, const LinearState& s) {
    const char* f = r.function;
    if (s.empty()) return;
    if (s.heads != z.state_heads || s.dim != z.features || s.dim_v != z.dim_v)
        fail(f, "state is " + shape(s.heads, s.dim, s.dim_v) + ", needs " + shape(z.state_heads, z.features, z.dim_v));
    if (static_cast<std::int64_t>(s.matrix.size()) != s.heads * s.dim * s.dim_v)
        fail(f, "state has " + text(static_cast<std::int64_t>(s.matrix.size())) + " elements, needs " +
                    text(s.heads * s.dim * s.dim_v));
    if (r.normalizer && static_cast<std::int64_t>(s.normalizer.size()) != s.heads * s.dim)
        fail(f, "state.normalizer has " + text(static_cast<std::int64_t>(s.normalizer.size())) + " elements, needs " +
                    text(s.heads * s.dim));
}

/// Calls f(name, tensor, whether a gate) for all inputs of the caller.
template <class F>
void for_each_input(const Request& r, F&& f) {
    for (const Named& n : r.others) f(n.name, n.x, false);
    const std::pair<const char*, const Heads<const float>*> tensors[] = {
        {r.q_name, &r.q}, {r.k_name, &r.k}, {r.v_name, &r.v}, {r.beta_name, &r.beta},
        {"u", &r.u},      {"a", &r.a},      {"b", &r.b}};
    for (const auto& [name, x] : tensors)
        if (name && x->data) f(name, *x, false);
    if (r.g_name && r.g.data) f(r.g_name, r.g, true);
    if (r.gv.data) f("gv", r.gv, true);
}

inline void check_output(const Request& r, const Sizes& z, Heads<float> o, const LinearState& s) {
    const char* f = r.function;
    using namespace tile::checks;
    tile::checks::check_output(f, z.out_heads, r.q.tokens, z.dim_v, o);
    const Bytes out = bytes_of(o), state{reinterpret_cast<const std::byte*>(s.matrix.data()),
                                         reinterpret_cast<const std::byte*>(s.matrix.data() + s.matrix.size())};
    for (const auto& [name, data] :
         {std::pair{r.q_name, r.q.data}, {r.k_name, r.k.data}, {r.v_name, r.v.data}, {"o", +o.data}})
        check_pointer(f, name, data, sizeof(float), true);
    if (out.meets(state)) fail(f, "o overlaps state, needs memory of its own");
    for_each_input(r, [&](const char* name, const Heads<const float>& x, bool) {
        check_pointer(f, name, x.data, sizeof(float), false);
        const Bytes in = bytes_of(x);
        if (out.meets(in)) fail(f, std::string("o overlaps ") + name + ", needs memory of its own");
        if (state.meets(in)) fail(f, std::string("state overlaps ") + name + ", needs memory of its own");
    });
}

inline void check_numbers(const char* f, const char* name, const Heads<const float>& x, bool gate) {
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t)
            for (std::int64_t d = 0; d < x.dim; ++d) {
                const float e = x.row(h, t)[d];
                if (is_nan(e) || (gate && e > 0))
                    fail(f, std::string(name) + " is " + std::to_string(e) + " at " + shape(h, t, d) + ", needs " +
                                (gate ? "a number <= 0" : "a number"));
            }
}

}  // namespace checks

ATTENTA_INLINE void check_shape(const char* f, const char* name, const Heads<const float>& x, std::int64_t heads,
                                std::int64_t tokens, std::int64_t dim) {
    if (x.heads != heads || x.tokens != tokens || x.dim != dim)
        fail(f, std::string(name) + " is " + checks::shape(x.heads, x.tokens, x.dim) + ", needs " +
                    checks::shape(heads, tokens, dim));
}

ATTENTA_INLINE void check(const Request& r, Heads<float> o, const LinearState& state, bool check_data) {
    const checks::Sizes sizes(r);
    checks::check_qkv(r, sizes);
    if (r.causal && r.q.tokens > r.k.tokens)
        fail(r.function,
             "q has " + checks::text(r.q.tokens) + " tokens, needs at most the " + checks::text(r.k.tokens) + " of k");
    if (!is_finite(r.scale)) fail(r.function, "scale is " + std::to_string(r.scale) + ", needs a finite number");
    checks::check_gates(r, sizes);
    checks::check_state(r, sizes, state);
    checks::check_output(r, sizes, o, state);
    if (!check_data) return;
    checks::for_each_input(r, [&](const char* name, const Heads<const float>& x, bool gate) {
        checks::check_numbers(r.function, name, x, gate);
    });
    for (const auto& [name, array] : {std::pair{"state", &state.matrix},
                                      {"state.normalizer", &state.normalizer},
                                      {"state.weight", &state.weight},
                                      {"state.key_max", &state.key_max}})
        checks::check_numbers(r.function, name, hnd(array->data(), 1, static_cast<std::int64_t>(array->size()), 1),
                              false);
}

/// A map that takes rows together gets the heads of a token: tasks, which have a head each, would give it single rows.
inline void map_heads(Heads<const float>& x, RowMap& map, std::int64_t features, float* to,
                      std::span<const float> ahead, Executor& executor) {
    constexpr std::int64_t together = 16;
    const std::int64_t stride = x.tokens * features, parts = (x.heads + together - 1) / together;
    const std::size_t asked = ahead.size() / static_cast<std::size_t>(x.tokens * parts);
    executor.parallel_for(x.tokens * parts, [&](std::int64_t i, int) {
        const std::int64_t token = i / parts, head = i % parts * together;
        map.together({.first = {map.parameters, x.dim, features, head, token},
                      .count = std::min(together, x.heads - head),
                      .x_stride = x.head_stride,
                      .y_stride = stride,
                      .heads = true,
                      .ahead = ahead.subspan(static_cast<std::size_t>(i) * asked, asked)},
                     x.row(head, token), to + head * stride + token * features);
    });
    x = {to, x.heads, x.tokens, features, stride, features};
    map = {};
}

/// How many heads take turns in a task: rows of token-major tensors are then read whole, not in pieces of a head each a
/// sequence apart. Their states and two chunks of rows stay in L2.
inline std::int64_t heads_together(const Job& job, std::int64_t threads) {
    const auto token_major = [](const auto& x) { return x.head_stride < x.token_stride; };
    if (job.r.k.tokens <= few_tokens || !token_major(job.r.k) || !token_major(job.r.v)) return 1;
    constexpr std::int64_t tensors = 4;
    const std::int64_t bytes = (job.dim_v + 2 * tensors * chunk) * job.dim * static_cast<std::int64_t>(sizeof(float)),
                       most = std::max<std::int64_t>(1, l2_bytes() * 3 / 4 / bytes),
                       groups = std::max(threads, (job.state_heads + most - 1) / most);
    return (job.state_heads + groups - 1) / groups;
}

/// A run, shared among the threads: heads, columns of few heads, and chunks where threads are many.
class Run {
public:
    Run(const Request& r, Heads<float> o, LinearState& state, Context& context)
        : executor_(context.executor()), threads_(executor_.concurrency()), few_(r.k.tokens <= few_tokens) {
        const checks::Sizes sizes(r);
        job_ = {r, o, &state, nullptr, sizes.state_heads, sizes.out_heads, sizes.features, sizes.dim_v};
        job_.slot_floats = Slot::floats(job_);
        columns_ = job_.dim_v;
        if (!few_) share();
        together_ = columns_ < job_.dim_v || by_chunks_ ? 1 : heads_together(job_, threads_);
        reserve(context.workspace());
    }

    void run() {
        if (few_ && job_.r.q.tokens <= few_tokens) map_rows();
        const Chunks chunks(job_.r);
        std::int64_t i = 0;
        if (by_chunks_) {
            const bool last_is_few = (job_.r.q.tokens - 1) % chunk < few_tokens;
            whole(0, i = chunks.before);
            for (const std::int64_t end = chunks.all - (last_is_few ? 1 : 0); i < end; i = job_.round_end) {
                job_.round_begin = i;
                job_.round_end = std::min(i + round_chunks(), end);
                round();
            }
        }
        whole(i, chunks.all);
    }

private:
    static constexpr std::int64_t panel = 32, task_chunks = 4, task_channels = 16;

    /// For the shortest time, in those of a head alone: every cut of columns repeats a third of a head's work, and by
    /// chunks it takes twice the work, most of that to bring states from one core to the other.
    void share() {
        constexpr double repeated = 0.35, by_chunks = 2;
        const Request& r = job_.r;
        const std::int64_t panels = parts(job_.dim_v, panel);
        double least = std::numeric_limits<double>::infinity();
        for (std::int64_t n = panels; n >= 1; --n) {
            const double part = static_cast<double>(n) / static_cast<double>(panels),
                         turns = static_cast<double>(parts(job_.state_heads * parts(panels, n), threads_)),
                         time = turns * (repeated + (1 - repeated) * part);
            if (time >= least) continue;
            least = time;
            columns_ = std::min(n * panel, job_.dim_v);
        }
        const bool independent = r.causal && r.update == Update::additive && !r.gv.data;
        by_chunks_ = independent && r.q.tokens >= 2 * task_chunks * chunk &&
                     by_chunks * static_cast<double>(job_.state_heads) < least * static_cast<double>(threads_);
    }
    /// Two tasks for every thread.
    std::int64_t round_chunks() const { return task_chunks * parts(2 * threads_, job_.state_heads); }

    void reserve(Workspace& workspace) {
        const Request& r = job_.r;
        const auto mapped = [&](const Heads<const float>& x, const RowMap& map) {
            return few_ && r.q.tokens <= few_tokens && map.together ? x.heads * x.tokens * job_.dim : 0;
        };
        const auto take = [&](Carver c) {
            Carver scratch(nullptr);
            Scratch(scratch, job_, by_chunks_ ? job_.dim_v : columns_, together_);
            scratch_bytes_ = round_up(scratch.used(), 64);
            scratch_ = c.take<std::byte>(scratch_bytes_ * threads_);
            job_.normalizers = c.take<float>(r.normalizer ? job_.state_heads * job_.dim : 0);
            keys_ = c.take<float>(mapped(r.k, r.k_map));
            queries_ = c.take<float>(mapped(r.q, r.q_map));
            job_.slots = c.take<float>(by_chunks_ ? (round_chunks() + 1) * job_.state_heads * job_.slot_floats : 0);
            return c.used();
        };
        take(Carver(workspace.reserve(static_cast<std::size_t>(take(Carver(nullptr))))));
    }

    /// A map that takes rows together gets the heads of a token. Memory would be idle meanwhile: the first states may come.
    void map_rows() {
        const std::vector<float>& matrix = job_.state->matrix;
        const std::span<const float> states(matrix.data(), std::min<std::size_t>(matrix.size(), 128 << 10));
        Request& r = job_.r;
        if (r.k_map.together) map_heads(r.k, r.k_map, job_.dim, keys_, states.first(states.size() / 2), executor_);
        if (r.q_map.together) map_heads(r.q, r.q_map, job_.dim, queries_, states.subspan(states.size() / 2), executor_);
    }

    void whole(std::int64_t begin, std::int64_t end) {
        if (begin == end) return;
        const std::int64_t cuts = parts(job_.dim_v, columns_);
        executor_.parallel_for(parts(job_.state_heads, together_) * cuts, [&](std::int64_t i, int thread) {
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
        chunks_of_round(Part::sums);
        const std::int64_t tasks = parts(job_.dim, task_channels);
        executor_.parallel_for(tasks * job_.state_heads, [&](std::int64_t i, int thread) {
            Task task = all_columns(i / tasks, Part::states);
            task.channel_begin = i % tasks * task_channels;
            task.channel_end = std::min(task.channel_begin + task_channels, job_.dim);
            run_task(task, thread);
        });
        chunks_of_round(Part::outputs);
    }
    void chunks_of_round(Part part) {
        const std::int64_t begin = job_.round_begin, end = job_.round_end, tasks = parts(end - begin, task_chunks);
        executor_.parallel_for(tasks * job_.state_heads, [&](std::int64_t i, int thread) {
            Task task = all_columns(i / tasks, part);
            task.chunk_begin = begin + i % tasks * task_chunks;
            task.chunk_end = std::min(task.chunk_begin + task_chunks, end);
            run_task(task, thread);
        });
    }
    Task all_columns(std::int64_t head, Part part) const {
        return {.head_begin = head, .head_end = head + 1, .column_end = job_.dim_v, .part = part};
    }

    void run_task(const Task& task, int thread) const {
        backend_.scan_task(job_, task, scratch_ + thread * scratch_bytes_);
    }

    const Backend& backend_ = active_backend();
    Executor& executor_;
    const std::int64_t threads_;
    const bool few_;
    Job job_;
    std::int64_t columns_ = 0, together_ = 1, scratch_bytes_ = 0;
    bool by_chunks_ = false;
    std::byte* scratch_ = nullptr;
    float *keys_ = nullptr, *queries_ = nullptr;
};

ATTENTA_INLINE void run(const Request& r, Heads<float> o, LinearState& state, Context& context) {
    if (state.empty()) {
        const checks::Sizes sizes(r);
        state.heads = sizes.state_heads;
        state.dim = sizes.features;
        state.dim_v = sizes.dim_v;
        state.matrix.assign(static_cast<std::size_t>(state.heads * state.dim * state.dim_v), 0.f);
        if (r.normalizer) state.normalizer.assign(static_cast<std::size_t>(state.heads * state.dim), 0.f);
    }
    Run(r, o, state, context).run();
}

}  // namespace scan

ATTENTA_END
