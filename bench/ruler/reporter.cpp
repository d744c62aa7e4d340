#include "bench/ruler/reporter.hpp"

#include "bench/names.hpp"
#include "bench/ruler/sampling.hpp"

#include <sstream>
#include <string>

namespace bench {

bool Reporter::ReportContext(const Context& context) {
    std::stringstream messages;
    inner_->SetOutputStream(&GetOutputStream());
    inner_->SetErrorStream(&messages);
    const bool accepted = inner_->ReportContext(context);
    inner_->SetErrorStream(&GetErrorStream());
    // Debian's Google Benchmark says that it is a debug build. Only its own loop is, which is not what is timed here.
    for (std::string line; std::getline(messages, line);)
        if (line.find("Library was built as DEBUG") == std::string::npos) GetErrorStream() << line << '\n';
    return accepted;
}

void Reporter::ReportRuns(const std::vector<Run>& runs) {
    std::vector<Run> edited = runs;
    for (Run& run : edited) {
        take_sample(run);
        if (run.run_type == Run::RT_Iteration) check(run);
    }
    inner_->ReportRuns(edited);
}

void Reporter::take_sample(Run& run) {
    const auto take = [&](const char* name) {
        const double value = run.counters.at(name);
        run.counters.erase(name);
        return value;
    };
    if (!run.counters.count(seconds_counter)) return;
    const double runs = take(runs_counter);
    if (run.run_type == Run::RT_Iteration) run.iterations = static_cast<benchmark::IterationCount>(runs);
    // Reporters divide totals by the iterations, also in aggregates, but take percentages as they are.
    const double scale = run.aggregate_unit == benchmark::kPercentage ? 1.0 : static_cast<double>(run.iterations);
    run.real_accumulated_time = take(seconds_counter) * scale;
    run.cpu_accumulated_time = take(cpu_seconds_counter) * scale;
}

void Reporter::check(const Run& run) {
    const std::string name = run.benchmark_name();
    if (run.error_occurred) failures_.push_back(name + ": " + run.error_message);
    const auto parsed = parse_name(name);
    const bool warm = parsed && parsed->warm;
    for (const char* counter : {"of_peak", "of_stream", "of_roof"}) {
        const auto found = run.counters.find(counter);
        if (found == run.counters.end() || found->second.value <= tolerance) continue;
        if (warm && found->first == "of_stream") continue;  // warm data does not come from memory
        std::ostringstream s;
        s << name << ": " << counter << " is " << found->second.value
          << ", a limit measured beside it cannot be exceeded";
        failures_.push_back(s.str());
    }
}

}  // namespace bench
