// Timing of repeated runs. Google Benchmark reports means; on shared machines the median of many runs is steadier, so
// benchmarks time themselves inside a single iteration and hand their result to the Reporter.
#pragma once

#include "bench/ruler/median.hpp"

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstddef>
#include <ctime>
#include <vector>

namespace bench {

struct Sample {
    double seconds = 0;      ///< median of the runs
    double cpu_seconds = 0;  ///< mean, of all threads
    std::size_t runs = 0;
};

/// Calls run(0), run(1), ... for 0.3 s and at least five times.
template <class F>
Sample sample(const F& run) {
    using Clock = std::chrono::steady_clock;
    constexpr double enough = 0.3;
    constexpr std::size_t at_least = 5;
    std::vector<double> seconds;
    double total = 0;
    const std::clock_t cpu_begin = std::clock();
    while (total < enough || seconds.size() < at_least) {
        const auto begin = Clock::now();
        run(seconds.size());
        seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
        total += seconds.back();
    }
    const double cpu = static_cast<double>(std::clock() - cpu_begin) / CLOCKS_PER_SEC;
    return {median(seconds), cpu / static_cast<double>(seconds.size()), seconds.size()};
}

/// Names of the counters in which a sample travels; the Reporter turns them into times and iterations.
inline constexpr const char *seconds_counter = "seconds", *cpu_seconds_counter = "cpu_seconds", *runs_counter = "runs";

inline void hand_over(const Sample& s, benchmark::State& state) {
    state.counters[seconds_counter] = s.seconds;
    state.counters[cpu_seconds_counter] = s.cpu_seconds;
    state.counters[runs_counter] = static_cast<double>(s.runs);
}

}  // namespace bench
