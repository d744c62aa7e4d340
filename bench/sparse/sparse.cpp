#include "bench/sparse/sparse.hpp"

#include "bench/ruler/registration.hpp"
#include "bench/ruler/roofline.hpp"
#include "bench/ruler/sampling.hpp"
#include "bench/softmax/implementations.hpp"
#include "bench/sparse/works.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>

namespace bench {
namespace {

AttendCase shape_of(const SparseCase& c) {
    return {.layout = c.layout,
            .causal = true,
            .Hq = c.Hq,
            .Hkv = c.Hkv,
            .D = c.D,
            .Dv = c.D,
            .Tq = c.decode ? 1 : c.Tk,
            .Tk = c.Tk,
            .threads = c.threads};
}

Sample time_of(const Problem& problem, const std::function<void(std::size_t)>& run) {
    run(0);
    return sample([&](std::size_t i) { run((i + 1) % problem.copies()); });
}

/// Of exact attention, measured once per shape.
double dense_seconds(const SparseCase& c, const Problem& problem) {
    static std::map<std::array<std::int64_t, 7>, double> known;
    const auto [entry, is_new] =
        known.try_emplace({c.Hq, c.Hkv, c.D, c.Tk, c.decode ? 1 : 0, c.threads, static_cast<std::int64_t>(c.layout)});
    if (is_new) entry->second = time_of(problem, implementation("attenta").prepare(problem)).seconds;
    return entry->second;
}

void run_sparse(benchmark::State& state, const SparseBench& b) {
    const SparseCase& c = b.name;
    const Problem problem(shape_of(c));
    attenta::ThreadPool pool(c.threads);
    attenta::Context context(pool);
    const double dense = dense_seconds(c, problem);
    const SparseWork work = b.prepare(problem, context);
    Limits limits = measure_limits(c.threads, attenta::active_isa());
    Sample s;
    for (auto _ : state) s = time_of(problem, work.run);
    const double selection = work.select ? time_of(problem, work.select).seconds : 0;
    limits = around(limits, measure_limits(c.threads, attenta::active_isa()));

    const auto D = static_cast<double>(c.D), Tk = static_cast<double>(c.Tk), Hq = static_cast<double>(c.Hq);
    const double density = work.pairs / (Hq * (c.decode ? Tk : Tk * (Tk + 1) / 2));
    const double flops = 4 * D * work.pairs + work.select_flops, bytes = 8 * D * work.rows + work.select_bytes;
    hand_over(s, state);
    state.counters["dense_ratio"] = dense / s.seconds;
    state.counters["density"] = density;
    state.counters["of_dense"] = s.seconds / (density * dense);
    state.counters["selection"] = selection / s.seconds;
    state.counters["of_peak"] = flops / limits.flops / s.seconds;
    state.counters["of_stream"] = bytes / limits.bytes / s.seconds;
    state.counters["of_roof"] = std::max(flops / limits.flops, bytes / limits.bytes) / s.seconds;
    state.counters["gflops"] = flops / s.seconds * 1e-9;
    state.counters["gbytes"] = bytes / s.seconds * 1e-9;
}

}  // namespace

void register_sparse() {
    for (const SparseBench& b : sparse_works())
        register_benchmark(format_name(b.name), [b](benchmark::State& state) { run_sparse(state, b); });
}

}  // namespace bench
