// How benchmarks are registered: by name, and what they throw is reported as their error.
#pragma once

#include <benchmark/benchmark.h>

#include <exception>
#include <string>
#include <utility>

namespace bench {

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
