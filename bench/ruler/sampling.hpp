// Timing of repeated runs. Google Benchmark reports means; on shared machines the median of many runs is steadier, so
// benchmarks time themselves inside a single iteration and hand their result to the Reporter.
#pragma once

#include "bench/ruler/median.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
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

inline constexpr double enough = 0.3;  ///< seconds of runs
inline constexpr std::size_t at_least = 5;

/// Calls run(0), run(1), ... for 0.3 s and at least five times.
template <class F>
Sample sample(const F& run) {
    using Clock = std::chrono::steady_clock;
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

/// The same of several works, turn by turn, until one has had its 0.3 s: what else the machine does weighs on all alike.
template <class... F>
std::array<Sample, sizeof...(F)> sample_in_turn(const F&... runs) {
    std::array<std::vector<double>, sizeof...(F)> seconds;
    std::array<double, sizeof...(F)> total{}, cpu{};
    while (*std::max_element(total.begin(), total.end()) < enough || seconds[0].size() < at_least) {
        std::size_t work = 0;
        const auto take = [&](const auto& run) {
            const std::clock_t cpu_begin = std::clock();
            const auto begin = std::chrono::steady_clock::now();
            run(seconds[work].size());
            seconds[work].push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
            total[work] += seconds[work].back();
            cpu[work++] += static_cast<double>(std::clock() - cpu_begin) / CLOCKS_PER_SEC;
        };
        (take(runs), ...);
    }
    std::array<Sample, sizeof...(F)> samples;
    for (std::size_t i = 0; i < samples.size(); ++i)
        samples[i] = {median(seconds[i]), cpu[i] / static_cast<double>(seconds[i].size()), seconds[i].size()};
    return samples;
}

/// Names of the counters in which a sample travels; the Reporter turns them into times and iterations.
inline constexpr const char *seconds_counter = "seconds", *cpu_seconds_counter = "cpu_seconds", *runs_counter = "runs";

inline void hand_over(const Sample& s, benchmark::State& state) {
    state.counters[seconds_counter] = s.seconds;
    state.counters[cpu_seconds_counter] = s.cpu_seconds;
    state.counters[runs_counter] = static_cast<double>(s.runs);
}

}  // namespace bench
