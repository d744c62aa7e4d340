// How benchmarks are registered: by name, and what they throw is reported as their error.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// name/key:size/... of a benchmark on one thread.
inline std::string with_sizes(std::string name, const std::vector<std::pair<const char*, std::int64_t>>& sizes) {
    for (const auto& [key, size] : sizes) name.append("/").append(key).append(":").append(std::to_string(size));
    return name + "/threads:1";
}

template <class Run>
void register_benchmark(const std::string& name, Run run, benchmark::TimeUnit unit = benchmark::kMicrosecond) {
    benchmark::RegisterBenchmark(name.c_str(), [run = std::move(run)](benchmark::State& state) {
        try {
            run(state);
        } catch (const std::exception& e) {
            state.SkipWithError(e.what());
        }
    })->Unit(unit);
}

}  // namespace bench
