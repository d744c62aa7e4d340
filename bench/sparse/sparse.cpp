#include "bench/sparse/sparse.hpp"

#include "bench/ruler/registration.hpp"
#include "bench/ruler/roofline.hpp"
#include "bench/ruler/sampling.hpp"
#include "bench/softmax/agreement.hpp"
#include "bench/softmax/implementations.hpp"
#include "bench/sparse/works.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace bench {
namespace {

AttendCase shape_of(const SparseCase& c) {
    return {.layout = c.layout,
            .causal = c.causal,
            .Hq = c.Hq,
            .Hkv = c.Hkv,
            .D = c.D,
            .Dv = c.D,
            .Tq = c.decode   ? 1
                  : c.Tq > 0 ? c.Tq
                             : c.Tk,
            .Tk = c.Tk,
            .threads = c.threads};
}

Sample time_of(const Problem& problem, const std::function<void(std::size_t)>& run) {
    run(0);
    return sample([&](std::size_t i) { run((i + 1) % problem.copies()); });
}

/// Time of exact attention, measured once per shape.
double dense_seconds(const Problem& problem) {
    const AttendCase& s = problem.shape();
    static std::map<std::array<std::int64_t, 8>, double> known;
    const auto [entry, is_new] = known.try_emplace(
        {s.Hq, s.Hkv, s.D, s.Tq, s.Tk, s.causal ? 1 : 0, s.threads, static_cast<std::int64_t>(s.layout)});
    if (is_new) entry->second = time_of(problem, implementation("attenta").prepare(problem)).cpu_seconds;
    return entry->second;
}

/// What a query sees by the lists of all heads, in causal order.
std::vector<std::uint8_t> mask_of(const attenta::KeyLists& lists) {
    const attenta::KeyLists::Shape& shape = lists.shape();
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(shape.queries * shape.keys));
    for (std::int64_t row = 0; row < shape.rows(); ++row)
        for (std::int64_t n = 0; n < shape.queries_of(row); ++n) {
            const std::int64_t i = shape.query(row, n);
            for (const attenta::KeyRun& run : lists.runs(row))
                std::fill_n(mask.begin() + i * shape.keys + run.start,
                            std::clamp<std::int64_t>(i + 1 - run.start, 0, run.count), 1);
        }
    return mask;
}

/// The same work by another implementation, whose selection is given.
void hand_to(const Implementation& other, SparseWork& work, Problem& problem) {
    problem.set_mask(mask_of(*work.lists));
    const Run run = other.prepare(problem);
    require_agreement(problem, other.name, run, work.run);
    work.run = run;
}

void run_sparse(benchmark::State& state, const SparseBench& b) {
    const SparseCase& c = b.name;
    Problem problem(shape_of(c));
    attenta::ThreadPool pool(c.threads);
    attenta::Context context(pool);
    const double dense = dense_seconds(problem);
    SparseWork work = b.prepare(problem, context);
    const Implementation& by = implementation(c.impl);
    if (by.takes_mask) hand_to(by, work, problem);
    Limits limits = measure_limits(c.threads, by.isa());
    Sample s;
    for (auto _ : state) s = time_of(problem, work.run);
    const double selection = work.select ? time_of(problem, work.select).cpu_seconds : 0;
    limits = around(limits, measure_limits(c.threads, by.isa()));

    const double D = static_cast<double>(c.D), width = work.values ? 2 * D : D;
    const double density = 4 * D * work.pairs / problem.flops();
    const double flops = 2 * width * work.pairs + work.select_flops, bytes = 4 * width * work.rows + work.select_bytes;
    hand_over(s, state);
    state.counters["dense_ratio"] = dense / s.cpu_seconds;
    if (density > 0) {
        state.counters["density"] = density;
        state.counters["of_dense"] = s.cpu_seconds / (density * dense);
    }
    state.counters["selection"] = selection / s.cpu_seconds;
    state.counters["of_peak"] = flops / limits.flops / s.seconds;
    state.counters["of_stream"] = bytes / limits.bytes / s.seconds;
    state.counters["of_roof"] = std::max(flops / limits.flops, bytes / limits.bytes) / s.seconds;
    state.counters["gflops"] = flops / s.seconds * 1e-9;
    state.counters["gbytes"] = bytes / s.seconds * 1e-9;
    for (const auto& [name, value] : work.figures) state.counters[name] = value;
}

}  // namespace

void register_sparse() {
    for (SparseBench b : sparse_works())
        for (const Implementation& by : implementations()) {
            if (by.name != "attenta" && !(b.for_others && by.takes_mask)) continue;
            b.name.impl = by.name;
            register_benchmark(format_name(b.name), [b](benchmark::State& state) { run_sparse(state, b); });
        }
}

}  // namespace bench
