// attenta-bench: timings as fractions of what the machine can do. Options are those of Google Benchmark, for instance
//
//   attenta-bench --benchmark_filter=attend/attenta/f32/nhd --benchmark_out=out.json
//
// attenta-bench --report=FILE is `attenta compare --html FILE`: all mechanisms at one shape, as a page.
//
// Files are written as JSON. The exit status is 1 if a benchmark failed or beat a limit.
#include "bench/analysis/observers.hpp"
#include "bench/kv/kv.hpp"
#include "bench/latent/latent.hpp"
#include "bench/linear/elementwise.hpp"
#include "bench/linear/linear.hpp"
#include "bench/mechanisms/mechanisms.hpp"
#include "bench/mechanisms/positions.hpp"
#include "bench/ruler/reporter.hpp"
#include "bench/ruler/roofline.hpp"
#include "bench/softmax/attend.hpp"
#include "bench/softmax/implementations.hpp"
#include "bench/sparse/sparse.hpp"

#include <attenta/core/isa.hpp>

#include <benchmark/benchmark.h>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

void describe_machine() {
    const attenta::Isa isa = attenta::active_isa();
    const bench::Limits limits = bench::measure_limits(1, isa);
    const auto rounded = [](double x) {
        char text[32];
        std::snprintf(text, sizeof text, "%.1f", x);
        return std::string(text);
    };
    benchmark::AddCustomContext("processor", std::string(attenta::processor_name()));
    benchmark::AddCustomContext("isa", attenta::name(isa));
    benchmark::AddCustomContext("fma_peak_gflops", rounded(limits.flops * 1e-9));
    benchmark::AddCustomContext("stream_gbytes", rounded(limits.bytes * 1e-9));
    benchmark::AddCustomContext("last_level_cache_mib", std::to_string(bench::last_level_cache() >> 20));
    for (const bench::Implementation& i : bench::implementations())
        benchmark::AddCustomContext(std::string(i.name), i.version());
}

/// OpenBLAS reads it when it is loaded, and then takes other kernels than its best: start again without it.
void restart_without(const char* variable, char** argv) {
    if (!std::getenv(variable)) return;
    unsetenv(variable);
    execv("/proc/self/exe", argv);
}

/// Becomes the program `attenta` beside this one, which makes the page.
int compare_mechanisms(const std::string& page) {
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "attenta";
    execl(program.c_str(), "attenta", "compare", "--html", page.c_str(), nullptr);
    std::cerr << program.string() << " cannot be started\n";
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    constexpr std::string_view report = "--report=";
    if (argc == 2 && std::string_view(argv[1]).starts_with(report))
        return compare_mechanisms(std::string(argv[1]).substr(report.size()));
    restart_without("OPENBLAS_CORETYPE", argv);
    std::vector<char*> arguments(argv, argv + argc);
    const bool to_file = std::any_of(arguments.begin(), arguments.end(),
                                     [](std::string_view a) { return a.starts_with("--benchmark_out="); });
    char one_iteration[] = "--benchmark_min_time=0";  // benchmarks repeat their work themselves
    arguments.insert(arguments.begin() + 1, one_iteration);
    argc = static_cast<int>(arguments.size());
    benchmark::Initialize(&argc, arguments.data());
    if (benchmark::ReportUnrecognizedArguments(argc, arguments.data())) return 1;
    describe_machine();
    bench::register_attend();
    bench::register_sweep();
    bench::register_phases();
    bench::register_linear();
    bench::register_elementwise();
    bench::register_sparse();
    bench::register_kv();
    bench::register_latent();
    bench::register_mechanisms();
    bench::register_positions();
    bench::register_observers();
    bench::register_overhead();

    bench::Reporter display{std::unique_ptr<benchmark::BenchmarkReporter>(benchmark::CreateDefaultDisplayReporter())};
    bench::Reporter file(std::make_unique<benchmark::JSONReporter>());
    benchmark::RunSpecifiedBenchmarks(&display, to_file ? &file : nullptr);
    for (const std::string& failure : display.failures()) std::cerr << failure << '\n';
    return display.failures().empty() ? 0 : 1;
}
