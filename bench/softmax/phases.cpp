#include "bench/ruler/registration.hpp"
#include "bench/ruler/roofline.hpp"
#include "bench/ruler/sampling.hpp"
#include "bench/softmax/attend.hpp"
#include "bench/softmax/cases.hpp"
#include "bench/softmax/problem.hpp"

#include <attenta/core/context.hpp>
#include <attenta/core/executor.hpp>
#include <attenta/core/isa.hpp>
#include <attenta/softmax/softmax.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <vector>

namespace bench {
namespace {

using attenta::Phase;
using attenta::PhaseTimes;

std::size_t index(Phase p) { return static_cast<std::size_t>(p); }

const char* name(Phase p) {
    constexpr const char* names[] = {"pack", "scores", "softmax", "values", "merge"};
    return names[index(p)];
}

/// Vector operations of a score on its way to a weight, on the units that do FMA: maximum, shift, exponential (clamp,
/// rounding, six multiply-adds, power, product), sum. An FMA unit does 2 flops of the peak in that time.
constexpr double softmax_operations = 15;

/// The least time of a phase: its multiply-adds at the peak, or its bytes at the streaming bandwidth, each tensor once.
double least_seconds(Phase phase, const Problem& work, Limits limits) {
    const AttendCase& c = work.shape();
    const double pairs = work.flops() / static_cast<double>(2 * (c.D + c.Dv));
    const double keys = static_cast<double>(c.Hkv * c.Tk * attenta::size_of(c.dtype));
    const double rows = static_cast<double>(c.Hq * c.Tq * 4);
    const bool packs = c.Tq * (c.Hq / c.Hkv) > attenta::attention::few_rows;
    const auto product = [&](std::int64_t dim) {
        const double flops = 2 * pairs * static_cast<double>(dim) / limits.flops;
        return packs || c.warm ? flops : std::max(flops, keys * static_cast<double>(dim) / limits.bytes);
    };
    switch (phase) {
        case Phase::pack:
            return packs ? keys * static_cast<double>(c.D + c.Dv) / limits.bytes : 0;
        case Phase::scores:
            return product(c.D);
        case Phase::softmax:
            return pairs * 2 * softmax_operations / limits.flops;
        case Phase::values:
            return product(c.Dv);
        case Phase::merge:
            return rows * static_cast<double>(c.Dv) / limits.bytes;
    }
    return 0;
}

void phases(benchmark::State& state, const AttendCase& c) {
    const Problem problem(c);
    attenta::ThreadPool pool(c.threads);
    attenta::Context context(pool);
    const attenta::SoftmaxPlan plan =
        attenta::plan_softmax(problem.q(0), {}, problem.kv(0), {.causal = c.causal}, context);
    const auto run = [&](std::size_t copy) { plan.run(problem.q(copy), problem.kv(copy), problem.o(copy)); };
    run(0);

    const auto measure = [&] { return measure_limits(c.threads, attenta::active_isa()); };
    Limits limits = measure();
    std::array<std::vector<double>, PhaseTimes::phases.size()> seconds;
    Sample s;
    for (auto _ : state)
        s = sample([&](std::size_t i) {
            PhaseTimes times;
            context.observe(&times);
            run((i + 1) % problem.copies());
            for (const Phase p : PhaseTimes::phases) seconds[index(p)].push_back(times.seconds(p));
        });
    context.observe(nullptr);
    limits = around(limits, measure());

    hand_over(s, state);
    double total = 0;
    for (auto& t : seconds) total += median(t);
    for (const Phase p : PhaseTimes::phases) {
        const double took = median(seconds[index(p)]);
        state.counters[name(p)] = took / total;
        state.counters[name(p) + std::string("_of_roof")] =
            least_seconds(p, problem, limits) * c.threads / std::max(took, 1e-12);
    }
}

}  // namespace

void register_phases() {
    for (const AttendCase& c : phase_cases())
        register_benchmark(format_name(c, "phases"), [c](benchmark::State& state) { phases(state, c); });
}

}  // namespace bench
