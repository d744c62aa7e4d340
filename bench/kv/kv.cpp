#include "bench/kv/kv.hpp"

#include "bench/kv/peers.hpp"
#include "bench/normals.hpp"
#include "bench/require_near.hpp"
#include "bench/ruler/registration.hpp"
#include "bench/ruler/sampling.hpp"
#include "src/llama/caches.hpp"

#include <attenta/attenta.hpp>
#include <attenta/kv/eviction/kernels.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bench {
namespace {

using attenta::CacheOptions, attenta::Heads, attenta::KvCache;

std::string name_of(const std::string& name, const std::vector<std::pair<const char*, std::int64_t>>& sizes) {
    return with_sizes("kv/" + name, sizes);
}

constexpr std::int64_t Hq = 32, Hkv = 8, D = 128, kept = 4096, context = 32768;

/// Layers in turn, so that keys and values come from memory as they do in a model.
void run_decode(benchmark::State& state, const caches::Policy& policy) {
    constexpr int layers = 3;
    const Normals q(Hq, kept, D), k(Hkv, kept, D), v(Hkv, kept, D);
    Normals o(Hq, 1, D);
    const CacheOptions options{.layers = layers, .kv_heads = Hkv, .dim = D, .capacity = kept + 1};
    KvCache plain(options);
    caches::EvictedCache evicted(options, Hq, policy, kept);
    for (int layer = 0; layer < layers; ++layer) {
        plain.append(layer, k.view(), v.view());
        evicted.attend(layer, q.view(), k.view(), v.view(), {});
    }
    const auto token = [](const Normals& x, std::size_t i) {
        return x.view().slice(static_cast<std::int64_t>(i) % kept, 1);
    };
    const auto without = [&](std::size_t i) {
        const int layer = static_cast<int>(i % layers);
        plain.append(layer, token(k, i), token(v, i));
        plain.attend(layer, token(q, i), o.view());
        plain.truncate(kept);
    };
    const auto with = [&](std::size_t i) {
        evicted.attend(static_cast<std::int64_t>(i % layers), token(q, i), token(k, i), token(v, i), o.view());
    };
    std::array<Sample, 2> s;
    for (auto _ : state) s = sample_in_turn(with, without);
    hand_over(s[0], state);
    state.counters["overhead"] = s[0].seconds / s[1].seconds;
}

void run_evict_one(benchmark::State& state) {
    const Normals k(Hkv, kept, D), scores(1, 1, 3 * kept);
    const float* const score = scores.view().row(0, 0);
    KvCache cache({.kv_heads = Hkv, .dim = D, .capacity = kept});
    cache.track_positions(0);
    cache.append(0, k.view(), k.view());
    std::vector<float> columns(static_cast<std::size_t>(Hkv * kept));
    for (std::size_t i = 0; i < columns.size(); ++i) columns[i] = score[i % (3 * kept)];
    const auto run = [&](std::size_t i) {
        for (std::int64_t h = 0; h < Hkv; ++h) {
            float* const column = columns.data() + h * kept;
            const auto slot = static_cast<std::int32_t>(attenta::eviction::eviction_kernels().lowest(
                column, cache.positions(0, h).data(), kept, 0, std::int64_t{1} << 40));
            for (const KvCache::Move& m : cache.evict(0, h, {&slot, 1})) column[m.to] = column[m.from];
            column[kept - 1] = score[i % (3 * kept)];
        }
        const auto token = k.view().slice(static_cast<std::int64_t>(i) % kept, 1);
        cache.append(0, token, token);
    };
    run(0);
    Sample s;
    for (auto _ : state) s = sample(run);
    hand_over(s, state);
}

/// The attention of so long a prompt takes long enough to be timed once.
void run_prompt(benchmark::State& state, const caches::Policy& policy, std::int64_t query_heads,
                std::int64_t kv_heads) {
    const Normals q(query_heads, context, D), k(kv_heads, context, D), v(kv_heads, context, D);
    Normals o(query_heads, context, D);
    const CacheOptions options{.kv_heads = kv_heads, .dim = D, .capacity = context};
    std::optional<caches::EvictedCache> cache;
    const auto empty = [&](std::size_t) { cache.emplace(options, query_heads, policy, kept); };
    const auto compress = [&](std::size_t) { cache->attend(0, q.view(), k.view(), v.view(), {}); };
    std::array<Sample, 2> s;
    for (auto _ : state) s = sample_in_turn(empty, compress);
    hand_over(s[1], state);
    const auto begin = std::chrono::steady_clock::now();
    attenta::softmax_attention(q.view(), attenta::KvView::of(k.view(), v.view()), o.view(), {.causal = true});
    const double prefill = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    state.counters["of_prefill"] = s[1].seconds / prefill;
}

struct QuantShape {
    const char* phase;
    std::int64_t query_heads, kv_heads, queries;
};
constexpr QuantShape quant_shapes[] = {{"decode", Hq, Hkv, 1}, {"prefill", 8, 2, 512}};

void run_quant(benchmark::State& state, const QuantShape& shape, const attenta::KvStorage& storage) {
    const Normals q(shape.query_heads, shape.queries, D);
    Normals o(shape.query_heads, shape.queries, D);
    CacheOptions options{.kv_heads = shape.kv_heads, .dim = D, .capacity = context};
    KvCache f32(options);
    options.storage = storage;
    KvCache codes(options);
    {
        const Normals k(shape.kv_heads, context, D);
        for (KvCache* cache : {&f32, &codes}) cache->append(0, k.view(), k.view());
    }
    const auto attend = [&](const KvCache& cache) {
        return [&](std::size_t) { cache.attend(0, std::as_const(q).view(), o.view(), {.causal = true}); };
    };
    std::array<Sample, 2> s;
    for (auto _ : state) s = sample_in_turn(attend(codes), attend(f32));
    hand_over(s[0], state);
    state.counters["f32_ratio"] = s[1].seconds / s[0].seconds;
    state.counters["bytes_per_token"] = static_cast<double>(shape.kv_heads * caches::row_bytes(codes));
}

/// Its outputs are those of exact attention, as far as its codes allow.
void run_peer(benchmark::State& state, const QuantShape& shape, const QuantPeer& peer) {
    const Normals q(shape.query_heads, shape.queries, D), k(shape.kv_heads, context, D), v(shape.kv_heads, context, D);
    Normals ours(shape.query_heads, shape.queries, D), theirs(shape.query_heads, shape.queries, D);
    const auto as_tokens = [&](auto* data) { return attenta::nhd(data, shape.queries, shape.query_heads, D); };
    const QuantProblem problem{as_tokens(q.view().data), k.view(), v.view(), as_tokens(theirs.view().data)};
    const Heads<float> want = as_tokens(ours.view().data);
    KvCache f32({.kv_heads = shape.kv_heads, .dim = D, .capacity = context});
    f32.append(0, k.view(), v.view());
    const auto attend = [&](std::size_t) { f32.attend(0, problem.q, want, {.causal = true}); };
    const auto run = peer.prepare(problem);
    attend(0), run();
    const auto size = static_cast<std::size_t>(shape.queries * shape.query_heads * D);
    require_near(std::string(peer.library) + ", " + std::string(peer.storage) + ": o", {problem.o.data, size},
                 {want.data, size}, peer.error);
    std::array<Sample, 2> s;
    for (auto _ : state) s = sample_in_turn([&](std::size_t) { run(); }, attend);
    hand_over(s[0], state);
    state.counters["f32_ratio"] = s[1].seconds / s[0].seconds;
    state.counters["bytes_per_token"] = 2 * static_cast<double>(shape.kv_heads * D) * peer.bits / 8;
}

}  // namespace

void register_kv() {
    for (const caches::Policy& policy : caches::policies()) {
        if (policy.name == std::string("full")) continue;
        const std::string name = std::string("attenta/") + policy.name;
        if (policy.for_steps)
            register_benchmark(name_of(name + "/decode", {{"Hq", Hq}, {"Hkv", Hkv}, {"D", D}, {"kept", kept}}),
                               [&policy](benchmark::State& state) { run_decode(state, policy); });
        if (policy.for_prompts)
            register_benchmark(
                name_of(name + "/prompt", {{"Hq", 4}, {"Hkv", 1}, {"D", D}, {"Tk", context}, {"kept", kept}}),
                [&policy](benchmark::State& state) { run_prompt(state, policy, 4, 1); });
    }
    register_benchmark(name_of("attenta/evict_one", {{"Hkv", Hkv}, {"D", D}, {"kept", kept}}), run_evict_one);
    const auto quant_name = [](std::string library, std::string storage, const QuantShape& s) {
        return name_of(library + "/quant/" + storage + '/' + s.phase,
                       {{"Hq", s.query_heads}, {"Hkv", s.kv_heads}, {"D", D}, {"Tq", s.queries}, {"Tk", context}});
    };
    for (const QuantShape& s : quant_shapes) {
        for (const caches::Storage& storage : caches::storages())
            register_benchmark(quant_name("attenta", storage.name, s),
                               [&storage, &s](benchmark::State& state) { run_quant(state, s, storage.storage); });
        for (const QuantPeer& peer : Added<QuantPeer>::all())
            register_benchmark(quant_name(std::string(peer.library), std::string(peer.storage), s),
                               [&peer, &s](benchmark::State& state) { run_peer(state, s, peer); });
    }
}

}  // namespace bench
