#include "bench/mechanisms/positions.hpp"

#include "bench/normals.hpp"
#include "bench/ruler/registration.hpp"
#include "bench/ruler/sampling.hpp"

#include <attenta/softmax.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace bench {
namespace {

using attenta::RopeLayout, attenta::RopeTable;

constexpr std::int64_t query_heads = 8, key_heads = 2, dim = 128;

struct Shape {
    const char* phase;
    std::int64_t Tq, Tk;
};
constexpr Shape rope_shapes[] = {{"prefill", 4096, 4096}, {"decode", 1, 32768}},
                tree_shapes[] = {{"prefill", 4096, 4096}, {"decode", 64, 32768}};

std::string name_of(const std::string& id, const Shape& s) {
    return with_sizes("softmax/attenta/" + id + '/' + s.phase,
                      {{"Hq", query_heads}, {"Hkv", key_heads}, {"D", dim}, {"Tq", s.Tq}, {"Tk", s.Tk}});
}

/// The tensors of one attention.
struct Tensors {
    Normals q, k, v, o;

    explicit Tensors(const Shape& s)
        : q(query_heads, s.Tq, dim), k(key_heads, s.Tk, dim), v(key_heads, s.Tk, dim), o(query_heads, s.Tq, dim) {}
    void attend(const Normals& queries) {
        attenta::softmax_attention(queries.view(), std::as_const(k).view(), std::as_const(v).view(), o.view(),
                                   {.causal = true});
    }
};

template <class F>
void beside_softmax(benchmark::State& state, Tensors& x, const F& run) {
    std::array<Sample, 2> both;
    for (auto _ : state) both = sample_in_turn([&](std::size_t) { run(); }, [&](std::size_t) { x.attend(x.q); });
    hand_over(both[0], state);
    state.counters["softmax_ratio"] = both[1].seconds / both[0].seconds;
}

/// Keys are rotated where they are, as many as there are queries: once, when they come into the cache.
void run_rope(benchmark::State& state, RopeLayout layout, const Shape& s) {
    Tensors x(s);
    Normals rotated(query_heads, s.Tq, dim);
    const RopeTable table(dim, {.layout = layout}, s.Tk);
    std::vector<std::int64_t> positions(static_cast<std::size_t>(s.Tq));
    std::iota(positions.begin(), positions.end(), s.Tk - s.Tq);
    const attenta::Heads<float> added = x.k.view().slice(s.Tk - s.Tq, s.Tq);
    beside_softmax(state, x, [&] {
        attenta::rope_rotate(std::as_const(x.q).view(), positions, rotated.view(), table);
        attenta::rope_rotate(added, positions, added, table);
        x.attend(rotated);
    });
}

/// Each node follows one of the eight before it.
void run_tree(benchmark::State& state, const Shape& s) {
    Tensors x(s);
    std::mt19937 random(1);
    std::vector<std::int64_t> parent(static_cast<std::size_t>(s.Tq));
    for (std::int64_t n = 0; n < s.Tq; ++n)
        parent[static_cast<std::size_t>(n)] =
            n - std::uniform_int_distribution<std::int64_t>(1, std::min<std::int64_t>(n + 1, 8))(random);
    beside_softmax(state, x, [&] {
        attenta::tree_mask({.q = std::as_const(x.q).view(),
                            .kv = attenta::KvView::of(std::as_const(x.k).view(), std::as_const(x.v).view()),
                            .parent = parent},
                           {{x.o.view(), nullptr}});
    });
}

}  // namespace

void register_positions() {
    for (const RopeLayout layout : {RopeLayout::half, RopeLayout::interleaved})
        for (const Shape& s : rope_shapes) {
            const std::string kind(names_of(layout)[static_cast<std::size_t>(layout)]);
            register_benchmark(name_of("rope/" + kind, s),
                               [layout, &s](benchmark::State& state) { run_rope(state, layout, s); });
        }
    for (const Shape& s : tree_shapes)
        register_benchmark(name_of("tree_mask", s), [&s](benchmark::State& state) { run_tree(state, s); });
}

}  // namespace bench
