#include "bench/ruler/sampling.hpp"
#include "bench/softmax/attend.hpp"

#include <attenta/softmax/softmax.hpp>

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {
namespace {

/// One head, one query, one key: what is left is the call.
struct Tiny {
    static constexpr std::int64_t dim = 64;
    std::vector<float> data = std::vector<float>(4 * dim, 1.0f);
    attenta::Heads<const float> q = attenta::hnd<const float>(data.data(), 1, 1, dim);
    attenta::Heads<const float> k = attenta::hnd<const float>(data.data() + dim, 1, 1, dim);
    attenta::Heads<const float> v = attenta::hnd<const float>(data.data() + 2 * dim, 1, 1, dim);
    attenta::Heads<float> o = attenta::hnd(data.data() + 3 * dim, 1, 1, dim);
};

/// Single calls are too short for a clock.
template <class Call>
void time_calls(benchmark::State& state, const Call& call) {
    constexpr int calls = 1000;
    Sample s;
    for (auto _ : state)
        s = sample([&](std::size_t) {
            for (int i = 0; i < calls; ++i) {
                call();
                benchmark::ClobberMemory();
            }
        });
    s.seconds /= calls;
    s.cpu_seconds /= calls;
    hand_over(s, state);
}

void softmax_attention(benchmark::State& state) {
    const Tiny t;
    time_calls(state, [&] { attenta::softmax_attention(t.q, t.k, t.v, t.o); });
}

void plan_run(benchmark::State& state) {
    const Tiny t;
    const attenta::KvView kv = attenta::KvView::of(t.k, t.v);
    const attenta::SoftmaxPlan plan = attenta::plan_softmax(t.q, {}, kv);
    time_calls(state, [&] { plan.run(t.q, kv, t.o); });
}

}  // namespace

void register_overhead() {
    benchmark::RegisterBenchmark("overhead/softmax_attention", softmax_attention);
    benchmark::RegisterBenchmark("overhead/plan_run", plan_run);
}

}  // namespace bench
