#include "bench/linear/linear.hpp"

#include "bench/linear/cases.hpp"
#include "bench/linear/implementations.hpp"
#include "bench/linear/inputs.hpp"
#include "bench/linear/mechanisms.hpp"
#include "bench/require_near.hpp"
#include "bench/ruler/registration.hpp"
#include "bench/ruler/roofline.hpp"
#include "bench/ruler/sampling.hpp"
#include "bench/softmax/implementations.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

namespace bench {
namespace {

using attenta::LinearState;

/// The newest problem is kept: neighbouring cases have the same one.
const LinearProblem& problem(const std::string& mechanism, std::int64_t H, std::int64_t T, std::int64_t D) {
    static std::tuple<std::string, std::int64_t, std::int64_t, std::int64_t> newest_is;
    static std::unique_ptr<LinearProblem> newest;
    if (!newest || newest_is != std::tuple(mechanism, H, T, D)) {
        newest.reset();
        newest = std::make_unique<LinearProblem>(linear_mechanism(mechanism), H, T, D);
        newest_is = {mechanism, H, T, D};
    }
    return *newest;
}

/// Prompts of 100 tokens and a token after them: another implementation's outputs are ours, and its state where it has the
/// same.
void check(const LinearImplementation& other, const LinearCase& c) {
    constexpr std::int64_t H = 2, T = 100;
    const LinearProblem p(linear_mechanism(c.mechanism), H, T, c.D);
    std::vector<float> memory(static_cast<std::size_t>(H * T * c.D));
    LinearState got, want;
    for (const std::int64_t tokens : {T, T, std::int64_t{1}}) {
        const attenta::NamedInputs x = p.first(tokens);
        const auto size = static_cast<std::size_t>(H * tokens * c.D);
        const float* const ours =
            linear_implementation("attenta").prepare(c.mechanism, x, 1)(p.o().slice(0, tokens), want);
        const float* const theirs = other.prepare(c.mechanism, x, 1)(attenta::nhd(memory.data(), tokens, H, c.D), got);
        const std::string what = std::string(other.name) + ", " + c.mechanism;
        constexpr double rounding = 1e-3;
        require_near(what + ": o", {theirs, size}, {ours, size}, rounding);
        if (!other.has_our_state) continue;
        require_near(what + ": the state", got.matrix, want.matrix, rounding);
        if (!want.normalizer.empty())
            require_near(what + ": the normalizer", got.normalizer, want.normalizer, rounding);
    }
}

/// Seconds of attenta's causal attention with as many heads of keys as of queries, measured once per shape.
double softmax_seconds(const LinearCase& c) {
    static std::map<std::array<std::int64_t, 4>, double> known;
    const auto [entry, is_new] = known.try_emplace({c.H, c.D, c.T, c.threads});
    if (is_new) {
        const Problem p(
            {.causal = true, .Hq = c.H, .Hkv = c.H, .D = c.D, .Dv = c.D, .Tq = c.T, .Tk = c.T, .threads = c.threads});
        const Run run = implementation("attenta").prepare(p);
        run(0);
        entry->second = sample(run).seconds;
    }
    return entry->second;
}

std::int64_t state_size(const LinearCase& c) { return c.H * state_rows(c.mechanism, c.D) * c.D; }

/// Of the recurrent form.
double flops(const LinearCase& c) { return 2 * states_passed(c.mechanism, c.T) * static_cast<double>(state_size(c)); }

/// Hands over a sample with the counters that all cases have; `peak` was measured before it.
void report(benchmark::State& state, const LinearCase& c, const Sample& s, double peak, attenta::Isa isa) {
    peak = std::max(peak, fma_peak(c.threads, isa));
    hand_over(s, state);
    state.counters["of_peak"] = flops(c) / peak / s.seconds;
    state.counters["gflops"] = flops(c) / s.seconds * 1e-9;
}

void prefill(benchmark::State& state, const LinearCase& c) {
    const double softmax = softmax_seconds(c);
    const LinearProblem& p = problem(c.mechanism, c.H, c.T, c.D);
    const LinearImplementation& by = linear_implementation(c.impl);
    const RunLinear run = by.prepare(c.mechanism, p.inputs(), c.threads);
    LinearState memory;
    run(p.o(), memory);
    const double peak = fma_peak(c.threads, by.isa());
    Sample s;
    for (auto _ : state) s = sample([&](std::size_t) { run(p.o(), memory); });
    report(state, c, s, peak, by.isa());
    state.counters["softmax_ratio"] = softmax / s.seconds;
}

void decode(benchmark::State& state, const LinearCase& c) {
    const LinearProblem& p = problem(c.mechanism, c.H, c.T, c.D);
    const LinearImplementation& by = linear_implementation(c.impl);
    const auto bytes = static_cast<std::size_t>(state_size(c)) * sizeof(float);
    const std::size_t layers = c.warm ? 1 : std::max<std::size_t>(32, 4 * last_level_cache() / bytes + 1);
    std::vector<LinearState> memory(layers);
    const RunLinear run = by.prepare(c.mechanism, p.inputs(), c.threads);
    for (LinearState& m : memory) run(p.o(), m);

    const auto pass_seconds = [&] {
        const auto pass = [&](std::size_t i) { naive::scale(memory[i % layers].matrix, 1.0f); };
        return sample(pass).seconds;
    };
    const double before = pass_seconds(), peak = fma_peak(c.threads, by.isa());
    Sample s;
    for (auto _ : state) s = sample([&](std::size_t i) { run(p.o(), memory[i % layers]); });
    const double pass = (before + pass_seconds()) / 2;
    report(state, c, s, peak, by.isa());
    state.counters["of_pass"] = pass / s.seconds;
    state.counters["gbytes"] = 2.0 * static_cast<double>(bytes) / s.seconds * 1e-9;
}

/// Calls of 1024 tokens that go on with the state, always with the same inputs: memory stays small however long the
/// sequence is, and that the state is all that is left of the past is what makes it possible.
void growth(benchmark::State& state, const GrowthCase& c) {
    constexpr std::int64_t chunk = 1024;
    const LinearProblem& p = problem(c.mechanism, c.H, chunk, c.D);
    const LinearImplementation& by = linear_implementation("attenta");
    const RunLinear whole = by.prepare(c.mechanism, p.inputs(), 1);
    LinearState memory;
    whole(p.o(), memory);
    Sample s;
    for (auto _ : state)
        s = sample([&](std::size_t) {
            for (std::int64_t t = 0; t < c.T; t += chunk) {
                const std::int64_t count = std::min(chunk, c.T - t);
                if (count == chunk)
                    whole(p.o(), memory);
                else
                    by.prepare(c.mechanism, p.first(count), 1)(p.o().slice(0, count), memory);
            }
        });
    hand_over(s, state);
    state.counters["ns_per_token"] = s.seconds / static_cast<double>(c.T) * 1e9;
}

}  // namespace

void register_linear() {
    for (const LinearCase& c : linear_cases())
        register_benchmark(format_name(c), [c](benchmark::State& state) {
            for (const LinearImplementation& other : linear_implementations())
                if (other.name != "attenta" && other.supports(c.mechanism) &&
                    (c.impl == "attenta" || c.impl == other.name))
                    check(other, c);
            c.decode ? decode(state, c) : prefill(state, c);
        });
    for (const GrowthCase& c : growth_cases())
        register_benchmark(
            format_name(c), [c](benchmark::State& state) { growth(state, c); }, benchmark::kMillisecond);
}

}  // namespace bench
