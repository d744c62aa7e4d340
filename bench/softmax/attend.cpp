#include "bench/softmax/attend.hpp"

#include "bench/ruler/registration.hpp"
#include "bench/ruler/reporter.hpp"
#include "bench/ruler/roofline.hpp"
#include "bench/ruler/sampling.hpp"
#include "bench/softmax/agreement.hpp"
#include "bench/softmax/cases.hpp"
#include "bench/softmax/implementations.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace bench {
namespace {

struct Fractions {
    double peak, stream, roof;
};

Fractions fractions(const Problem& work, double seconds, Limits limits) {
    const double compute = work.flops() / limits.flops, memory = work.bytes() / limits.bytes;
    const double roof = work.shape().warm ? compute : std::max(compute, memory);
    return {compute / seconds, memory / seconds, roof / seconds};
}

void attend(benchmark::State& state, const AttendCase& c) {
    const Problem problem(c);
    const Implementation& who = implementation(c.impl);
    const Run run = who.prepare(problem);
    if (who.name != "attenta") require_agreement(problem, who.name, run, implementation("attenta").prepare(problem));
    run(0);

    const auto measure = [&] { return measure_limits(c.threads, who.isa()); };
    Limits limits = measure();
    Sample s;
    for (auto _ : state)
        s = sample([&](std::size_t i) { run((i + 1) % problem.copies()); });  // copy 0 was the warm-up's
    limits = around(limits, measure());
    Fractions f = fractions(problem, s.seconds, limits);
    for (int retry = 0; retry < 3 && f.roof > tolerance; ++retry) {  // was the machine busy while it was probed?
        const Limits again = measure();
        limits = {std::max(limits.flops, again.flops), std::max(limits.bytes, again.bytes)};
        f = fractions(problem, s.seconds, limits);
    }

    hand_over(s, state);
    state.counters["of_peak"] = f.peak;
    state.counters["of_stream"] = f.stream;
    state.counters["of_roof"] = f.roof;
    state.counters["gflops"] = problem.flops() / s.seconds * 1e-9;
    state.counters["gbytes"] = problem.bytes() / s.seconds * 1e-9;
}

void register_cases(const std::vector<AttendCase>& cases, const char* family) {
    for (const AttendCase& c : cases)
        register_benchmark(format_name(c, family), [c](benchmark::State& state) { attend(state, c); });
}

}  // namespace

void register_attend() { register_cases(attend_cases(), "attend"); }
void register_sweep() { register_cases(sweep_cases(), "sweep"); }

}  // namespace bench
