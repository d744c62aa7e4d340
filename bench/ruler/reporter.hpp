// What happens to results on their way to the screen and to files.
#pragma once

#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// A fraction of a measured limit above this is a wrong measurement.
inline constexpr double tolerance = 1.02;

/// Hands results on to another reporter, after it has put the samples that benchmarks took themselves (sampling.hpp) in
/// the place of Google Benchmark's times and iterations. Collects what makes the run fail.
class Reporter : public benchmark::BenchmarkReporter {
public:
    explicit Reporter(std::unique_ptr<benchmark::BenchmarkReporter> inner) : inner_(std::move(inner)) {}

    bool ReportContext(const Context& context) override;
    void ReportRuns(const std::vector<Run>& runs) override;
    void Finalize() override { inner_->Finalize(); }

    /// A sentence for each benchmark that failed or beat a limit.
    const std::vector<std::string>& failures() const { return failures_; }

private:
    static void take_sample(Run& run);
    void check(const Run& run);

    std::unique_ptr<benchmark::BenchmarkReporter> inner_;
    std::vector<std::string> failures_;
};

}  // namespace bench
