#include "bench/linear/elementwise.hpp"

#include "bench/linear/implementations.hpp"
#include "bench/normals.hpp"
#include "bench/require_near.hpp"
#include "bench/ruler/registration.hpp"
#include "bench/ruler/roofline.hpp"
#include "bench/ruler/sampling.hpp"

#include <attenta/kv/eviction/kernels.hpp>
#include <attenta/linear.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace bench {
namespace {

using attenta::Heads;

constexpr std::int64_t tokens = 4096, channels = 2048, states = 16;

/// Inputs as a model has them: small steps, gates just below 1.
struct Inputs {
    Normals x{1, tokens, channels}, y{1, tokens, channels}, A{1, channels, states}, B{1, tokens, states},
        C{1, tokens, states}, w{1, 1, channels}, u{1, 1, channels};

    Inputs() {
        const auto change = [](Normals& tensor, auto f) {
            const Heads<float> t = tensor.view();
            std::transform(t.data, t.data + t.heads * t.tokens * t.dim, t.data, f);
        };
        change(A, [](float a) { return -1 - std::abs(a); });
        change(y, [](float g) { return -0.01f - std::abs(g) / 4; });
        change(w, [](float g) { return -0.01f - std::abs(g) / 4; });
    }
    attenta::NamedInputs of_mamba() const {
        return {{"x", x.view()}, {"dt", y.view()}, {"A", A.view()}, {"B", B.view()}, {"C", C.view()}};
    }
};

struct Work {
    const char* id;
    double exponentials, floats;  ///< for each token of a channel: evaluated, logarithms too, and read or written
    void (*run)(const Inputs& in, Heads<float> o, attenta::LinearState& state);
};

void run_mamba(const Inputs& in, Heads<float> o, attenta::LinearState& state) {
    attenta::mamba({in.x.view(), in.y.view(), in.A.view(), in.B.view(), in.C.view()}, o, state);
}

const Work works[] = {
    {"hgrn", 1, 3,
     [](const Inputs& in, Heads<float> o, attenta::LinearState& state) {
         attenta::hgrn({in.x.view(), in.y.view()}, o, state);
     }},
    {"rwkv4_wkv", 2, 3,
     [](const Inputs& in, Heads<float> o, attenta::LinearState& state) {
         attenta::rwkv4_wkv({in.x.view(), in.y.view(), in.w.view(), in.u.view()}, o, state);
     }},
    {"bi_wkv", 4, 3,
     [](const Inputs& in, Heads<float> o, attenta::LinearState&) {
         attenta::bi_wkv({in.x.view(), in.y.view(), in.w.view(), in.u.view()}, o);
     }},
    {"mamba", states + 2, 3, run_mamba},  // softplus has one of either
};

/// Exponentials per second, of a row in L1.
double exp_rate() {
    constexpr std::int64_t n = 4096, rows = 64;
    const auto weights = attenta::eviction::eviction_kernels().weights;
    std::vector<float> row(n, -1.f);
    const Sample s = sample([&](std::size_t) {
        for (std::int64_t r = 0; r < rows; ++r) weights(row.data(), n, 0.5f);
        benchmark::DoNotOptimize(row.data());
    });
    return static_cast<double>(n * rows) / s.seconds;
}

void run(benchmark::State& state, const Work& work) {
    const Inputs in;
    Normals o(1, tokens, channels);
    attenta::LinearState memory;
    const double exp_before = exp_rate(), bytes_before = stream_bandwidth(1);
    Sample sampled;
    for (auto _ : state) sampled = sample([&](std::size_t) { work.run(in, o.view(), memory); });
    const double exp = std::max(exp_before, exp_rate()), bytes = (bytes_before + stream_bandwidth(1)) / 2;
    hand_over(sampled, state);
    constexpr auto count = static_cast<double>(tokens * channels);
    const double of_exp = count * work.exponentials / exp / sampled.seconds,
                 of_stream = count * work.floats * sizeof(float) / bytes / sampled.seconds;
    state.counters["of_exp"] = of_exp;
    state.counters["of_stream"] = of_stream;
    state.counters["of_limit"] = std::max(of_exp, of_stream);
}

/// Compared with ours before it is timed.
void run_mamba_peer(benchmark::State& state, const LinearImplementation& peer) {
    const Inputs in;
    Normals o(1, tokens, channels);
    attenta::LinearState ours, theirs;
    run_mamba(in, o.view(), ours);
    const RunLinear mamba = peer.prepare("mamba", in.of_mamba(), 1);
    constexpr auto size = static_cast<std::size_t>(tokens * channels);
    require_near(std::string(peer.name) + ": o", {mamba(o.view(), theirs), size}, {o.view().data, size}, 1e-3);
    Sample sampled;
    for (auto _ : state) sampled = sample([&](std::size_t) { mamba(o.view(), theirs); });
    hand_over(sampled, state);
}

std::string name_of(const std::string& library, const std::string& id) {
    return with_sizes("linear/" + library + '/' + id + "/prefill", {{"H", 1}, {"D", channels}, {"T", tokens}});
}

}  // namespace

void register_elementwise() {
    for (const Work& work : works)
        register_benchmark(name_of("attenta", work.id), [&work](benchmark::State& state) { run(state, work); });
    for (const LinearImplementation& peer : Added<LinearImplementation>::all())
        if (peer.supports("mamba"))
            register_benchmark(name_of(std::string(peer.name), "mamba"),
                               [&peer](benchmark::State& state) { run_mamba_peer(state, peer); });
}

}  // namespace bench
