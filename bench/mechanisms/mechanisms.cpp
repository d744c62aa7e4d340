#include "bench/mechanisms/mechanisms.hpp"

#include "bench/normals.hpp"
#include "bench/ruler/registration.hpp"
#include "bench/ruler/sampling.hpp"

#include <attenta/attenta.hpp>
#include <attenta/catalog.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {
namespace {

using Sizes = std::map<std::string, std::int64_t, std::less<>>;

/// What is timed of a row: sizes of the letters that are no shape's, parameters, and the optional inputs that are given.
struct Work {
    const char *family, *id;
    Sizes sizes = {};
    std::string parameters = "{}";
    std::vector<std::string_view> optional = {};
    bool causal = true, decodes = true;
    const char* variant = "";  ///< follows the id in the name
};

const std::vector<Work>& works() {
    static const std::vector<Work> all = {
        {"softmax", "t5_bias", {{"B", 32}}, R"({"bidirectional": false, "causal": true})"},
        {"softmax", "sink_bias", {}, R"({"causal": true})"},
        {"softmax", "cosine", {}, R"({"method": "l2", "scale": 10, "causal": true})"},
        {"softmax", "persistent_memory", {{"TN", 128}}, R"({"causal": true})"},
        {"softmax", "relative_shaw", {{"Hr", 1}, {"TC", 257}}, R"({"causal": true})"},
        {"softmax", "relative_interaction", {{"Hr", 1}, {"TM", 257}}, R"({"method": 4, "causal": true})"},
        {"softmax", "relative_xl", {{"Hr", 8}, {"M", 128}}, R"({"causal": true})", {"w_r"}},
        {"softmax", "rcmha", {{"Cq", 3}, {"Ck", 3}, {"Cv", 3}, {"P2", 65536}}, "{}", {}, true, false},
        {"softmax",
         "disentangled",
         {{"Hr", 8}, {"Hp", 8}, {"TP", 512}},
         R"({"buckets": 256})",
         {"pos_k", "pos_q"},
         false},
        {"softmax", "complex", {}, R"({"causal": true})", {}, true, false},
        {"softmax", "rope_nope", {}, R"({"window": 0})", {}, true, false},
        {"softmax", "multi_token", {{"A", 6}, {"B", 11}}, "{}", {"kernel_pre", "head_pre"}, true, false},
        {"softmax", "path", {}, "{}", {}, true, false},
        {"variants", "sigmoid", {}, R"({"bias": -8, "causal": true})"},
        {"variants", "relu", {}, R"({"causal": true})"},
        {"variants", "sparsemax", {}, R"({"causal": true})"},
        {"variants", "entmax", {}, R"({"alpha": 1.5, "causal": true})"},
        {"variants", "entmax", {}, R"({"alpha": 1.3, "causal": true})", {}, true, true, "/alpha:1.3"},
        {"variants", "normalized", {}, R"({"causal": true})"},
        {"variants", "combined", {}, R"({"causal": true})"},
        {"variants", "hopfield", {}, R"({"steps": 1})", {}, false},
        {"variants", "additive", {{"A", 16}, {"Dq", 128}, {"Dk", 128}}, R"({"causal": true})"},
        {"variants", "neural", {{"N", 8}, {"M", 4}}, R"({"causal": true})", {}, true, false},
        {"lowrank", "linformer", {{"Hp", 1}, {"TR", 256}, {"E", 8192}}, "{}", {}, false, false},
        {"lowrank", "nystrom", {}, R"({"landmarks": 256})", {}, false, false},
    };
    return all;
}

struct Shape {
    const char* phase;
    std::int64_t Hq, Hkv, D, Tq, Tk;
};
constexpr Shape prefill{"prefill", 8, 2, 128, 4096, 4096}, decode{"decode", 8, 2, 128, 1, 32768},
    long_prefill{"prefill", 8, 8, 64, 8192, 8192};

std::int64_t size_of(std::string_view letter, const Sizes& sizes) {
    std::int64_t number = 1;
    const char* const end = letter.data() + letter.size();
    const auto [rest, error] = std::from_chars(letter.data(), end, number);  // "128", "2N"
    if (letter.empty() || (error == std::errc() && rest == end)) return number;
    if (error == std::errc())
        return number * size_of(letter.substr(static_cast<std::size_t>(rest - letter.data())), sizes);
    if (letter.ends_with("/2")) return size_of(letter.substr(0, letter.size() - 2), sizes) / 2;
    const auto found = sizes.find(letter);
    if (found == sizes.end()) attenta::fail("bench", "no size for " + std::string(letter));
    return found->second;
}

attenta::Tensors draw(const attenta::Mechanism& m, const Work& w, const Shape& s) {
    Sizes sizes = w.sizes;
    const Sizes shape = {{"Hq", s.Hq}, {"H", s.Hq}, {"Hkv", s.Hkv}, {"Tq", s.Tq},
                         {"Tk", s.Tk}, {"T", s.Tk}, {"D", s.D},     {"Dv", s.D}};
    sizes.insert(shape.begin(), shape.end());
    attenta::Tensors tensors;
    for (const attenta::Input& in : m.list()) {
        const bool wanted = std::find(w.optional.begin(), w.optional.end(), in.name) != w.optional.end();
        if ((in.flags & attenta::Input::optional) != 0 && !wanted) continue;
        const attenta::ShapeLetters l = in.letters();
        std::vector<std::int64_t> shape_of = {size_of(l.heads, sizes)};
        if (!l.tokens.empty()) shape_of.push_back(size_of(l.tokens, sizes));
        if (!l.dim.empty()) shape_of.push_back(size_of(l.dim, sizes));
        attenta::Tensor t = attenta::Tensor::zeros(attenta::TensorType::f32, shape_of);
        const Normals numbers(1, 1, t.size());
        const float* const from = numbers.view().data;
        std::copy_n(from, t.size(), t.as<float>().data());
        tensors.emplace(in.name, std::move(t));
    }
    return tensors;
}

void run(benchmark::State& state, const attenta::Mechanism& m, const Work& w, const Shape& s) {
    const attenta::Tensors tensors = draw(m, w, s);
    const Normals q(s.Hq, s.Tq, s.D), k(s.Hkv, s.Tk, s.D), v(s.Hkv, s.Tk, s.D);
    Normals o(s.Hq, s.Tq, s.D);
    std::array<Sample, 2> both;
    for (auto _ : state)
        both = sample_in_turn(
            [&](std::size_t) {
                benchmark::DoNotOptimize(m.run({tensors, w.parameters, false}));
            },
            [&](std::size_t) {
                attenta::softmax_attention(q.view(), k.view(), v.view(), o.view(), {.causal = w.causal});
            });
    hand_over(both[0], state);
    state.counters["softmax_ratio"] = both[1].seconds / both[0].seconds;
}

}  // namespace

void register_mechanisms() {
    for (const Work& w : works()) {
        const attenta::Mechanism* const m = attenta::find_mechanism(w.family, w.id);
        if (!m || !m->list) continue;
        const Shape& longest = w.family == std::string_view("lowrank") ? long_prefill : prefill;
        for (const Shape* s : {&longest, &decode}) {
            if (s == &decode && !w.decodes) continue;
            const std::string name =
                with_sizes(std::string(w.family) + "/attenta/" + w.id + w.variant + '/' + s->phase,
                           {{"Hq", s->Hq}, {"Hkv", s->Hkv}, {"D", s->D}, {"Tq", s->Tq}, {"Tk", s->Tk}});
            register_benchmark(name, [m, &w, s](benchmark::State& state) { run(state, *m, w, *s); });
        }
    }
}

}  // namespace bench
