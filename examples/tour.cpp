// A tour of attenta on real input: the bundled model, its logits against a reference in double, and the attention of
// each of its layers at full context, timed beside the same computation written with Eigen.
#include "llama.hpp"
#include "tensor.hpp"

#include "bench/ruler/roofline.hpp"
#include "bench/softmax/naive_eigen.hpp"

#include <attenta/catalog.hpp>

#include <Eigen/Core>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace {

using attenta::Dtype;
using attenta::Heads;
using attenta::Isa;

/// What the model's attention saw and gave in one layer.
struct LayerTensors {
    Tensor q, k, v, o;
};

/// Infinite where there is a NaN.
template <class A, class B>
double max_difference(const A& a, const B& b) {
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
        largest = std::max(largest, std::isnan(d) ? std::numeric_limits<double>::infinity() : d);
    }
    return largest;
}

/// Runs the reference document and compares; true if the numbers agree.
bool check_model(const llama::Model& model, const attenta::TensorFile& reference, std::vector<LayerTensors>& layers) {
    const auto token_numbers = reference.tensors.at("tokens").as<std::int64_t>();
    const std::vector<llama::Token> tokens(token_numbers.begin(), token_numbers.end());
    const auto n = static_cast<std::int64_t>(tokens.size());
    attenta::KvCache cache = model.make_cache(n);
    const auto record = [&](std::int64_t, Heads<const float> q, Heads<const float> k, Heads<const float> v,
                            Heads<const float> o) {
        layers.push_back({Tensor(q), Tensor(k), Tensor(v), Tensor(o)});
    };
    const std::vector<float> logits = model.forward(tokens, cache, n, attenta::default_context(), record);

    std::vector<float> at_positions;
    const auto positions = reference.tensors.at("positions").as<std::int64_t>();
    for (const std::int64_t p : positions) {
        const auto row = logits.begin() + p * model.config().vocab;
        at_positions.insert(at_positions.end(), row, row + model.config().vocab);
    }
    constexpr double tolerance = 1e-3;
    const double logit_error = max_difference(at_positions, reference.tensors.at("logits").as<float>());
    const double o_error = max_difference(layers.at(1).o.values, reference.tensors.at("layer1.o").as<float>());
    const bool ok = logit_error < tolerance && o_error < tolerance;
    std::printf(
        "1. Does the model compute what it should? A document of %d bytes, against a run in double precision:\n"
        "   largest difference of logits, %zu positions x %d     %.1e\n"
        "   largest difference of the attention of layer 1       %.1e\n"
        "   both below %.0e: %s\n\n",
        static_cast<int>(n), positions.size(), static_cast<int>(model.config().vocab), logit_error, o_error, tolerance,
        ok ? "OK" : "FAIL");
    return ok;
}

/// The definition, in double: causal softmax attention of queries at the end of the keys; [Hq, Tq, Dv].
std::vector<double> attention_in_double(Heads<const float> q, Heads<const float> k, Heads<const float> v) {
    using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    using Vector = Eigen::Map<const Eigen::VectorXf>;
    std::vector<double> o;
    for (std::int64_t h = 0; h < q.heads; ++h) {
        const std::int64_t group = h / (q.heads / k.heads);
        const Eigen::MatrixXd keys = Eigen::Map<const Rows>(k.row(group, 0), k.tokens, k.dim).cast<double>();
        const Eigen::MatrixXd values = Eigen::Map<const Rows>(v.row(group, 0), v.tokens, v.dim).cast<double>();
        for (std::int64_t i = 0; i < q.tokens; ++i) {
            const std::int64_t visible = k.tokens - q.tokens + i + 1;
            const Eigen::VectorXd query =
                Vector(q.row(h, i), q.dim).cast<double>() / std::sqrt(static_cast<double>(q.dim));
            const Eigen::VectorXd scores = keys.topRows(visible) * query;
            const Eigen::VectorXd weights = (scores.array() - scores.maxCoeff()).exp();
            const Eigen::VectorXd out = values.topRows(visible).transpose() * weights / weights.sum();
            o.insert(o.end(), out.begin(), out.end());
        }
    }
    return o;
}

/// Seconds of the fastest run of some 20 ms of runs.
template <class F>
double best_time(const F& run) {
    using Clock = std::chrono::steady_clock;
    const auto since = [](Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); };
    double best = std::numeric_limits<double>::infinity();
    const auto begin = Clock::now();
    do {
        const auto start = Clock::now();
        run();
        best = std::min(best, since(start));
    } while (since(begin) < 0.02);
    return best;
}

/// One way to compute a layer's attention, and how it did.
struct Contender {
    std::string name;
    std::function<void()> run;
    double seconds = std::numeric_limits<double>::infinity(), error = 0;
};

/// The layer's keys and values in a cache of the given type, and a plan for the given instruction set.
struct Attenta {
    attenta::KvCache cache;
    attenta::KvView kv;
    attenta::SoftmaxPlan plan;

    Attenta(const LayerTensors& layer, Heads<const float> q, Isa isa, Dtype storage)
        : cache({.kv_heads = layer.k.heads, .dim = layer.k.dim, .capacity = layer.k.tokens, .storage = storage}),
          kv(filled(layer)),
          plan(plan_for(q, isa)) {}

private:
    attenta::KvView filled(const LayerTensors& layer) {
        cache.append(0, layer.k.view(), layer.v.view());
        return cache.view(0);
    }
    attenta::SoftmaxPlan plan_for(Heads<const float> q, Isa isa) const {
        attenta::set_isa(isa);
        return attenta::plan_softmax(q, {}, kv, {.causal = true});
    }
};

/// The last `queries` tokens of the layer attend to all keys up to their own: by Eigen, by every instruction set here
/// on f32, and by the best one on K and V of half the size.
std::vector<Contender> measure(const LayerTensors& layer, std::int64_t queries, Isa best) {
    const Heads<const float> k = layer.k.view(), v = layer.v.view();
    const Heads<const float> q = layer.q.view().slice(layer.q.tokens - queries, queries);
    const std::vector<double> want = attention_in_double(q, k, v);
    std::vector<float> got(want.size());
    const Heads<float> o = attenta::hnd(got.data(), q.heads, queries, v.dim);

    std::vector<Contender> contenders{{"naive Eigen", [&] { bench::naive_eigen(q, k, v, o, /*causal=*/true); }}};
    const auto add = [&](Isa isa, Dtype storage) {
        const auto attention = std::make_shared<Attenta>(layer, q, isa, storage);
        contenders.push_back({std::string("attenta ") + name(isa) + ", " + name(storage) + " cache",
                              [attention, q, o] { attention->plan.run(q, attention->kv, o); }});
    };
    for (const Isa isa : {Isa::sse2, Isa::avx2, Isa::avx512, Isa::neon64})
        if (attenta::is_available(isa)) add(isa, Dtype::f32);
    add(best, Dtype::bf16);
    add(best, Dtype::f16);

    constexpr int rounds = 4;  // in turns, so that a busy moment of the machine is nobody's alone
    for (int round = 0; round < rounds; ++round) {
        for (Contender& c : contenders) {
            c.seconds = std::min(c.seconds, best_time(c.run));
            c.error = max_difference(got, want);
        }
    }
    return contenders;
}

/// Floating point operations that the definition needs: a dot product and a row of values per visible pair and head.
double flops(const LayerTensors& layer, std::int64_t queries) {
    const double pairs = static_cast<double>(queries) * static_cast<double>(2 * layer.k.tokens - queries + 1) / 2;
    return 2 * static_cast<double>(layer.q.heads * (layer.k.dim + layer.v.dim)) * pairs;
}

void print_rows(const std::string& layer, const std::vector<Contender>& results, double roof_seconds) {
    for (std::size_t i = 0; i < results.size(); ++i) {
        const Contender& r = results[i];
        std::printf("   %-6s %-27s %9.1f us %9.1fx %8.0f %% %11.1e\n", i == 0 ? layer.c_str() : "", r.name.c_str(),
                    1e6 * r.seconds, results[0].seconds / r.seconds, 100 * roof_seconds / r.seconds, r.error);
    }
}

void compare(const std::vector<LayerTensors>& layers, std::int64_t queries, Isa best) {
    std::printf("   %-6s %-27s %12s %10s %10s %11s\n", "layer", "implementation", "time", "speed-up", "of roof",
                "max error");
    std::vector<Contender> mean;
    double mean_roof = 0;
    const auto count = static_cast<double>(layers.size());
    for (std::size_t l = 0; l < layers.size(); ++l) {
        const double peak_before = bench::fma_peak(1, best);
        const std::vector<Contender> results = measure(layers[l], queries, best);
        const double roof = flops(layers[l], queries) / std::max(peak_before, bench::fma_peak(1, best));
        print_rows(std::to_string(l), results, roof);
        mean_roof += roof / count;
        mean.resize(results.size(), {.name = {}, .run = {}, .seconds = 0, .error = 0});
        for (std::size_t i = 0; i < results.size(); ++i) {
            mean[i].name = results[i].name;
            mean[i].seconds += results[i].seconds / count;
            mean[i].error = std::max(mean[i].error, results[i].error);
        }
    }
    print_rows("mean", mean, mean_roof);
    std::printf("\n");
}

int tour(const std::filesystem::path& directory) {
    const Isa best = attenta::active_isa();
    const llama::Model model(directory);
    const llama::Config& c = model.config();
    std::printf(
        "attenta %s: a tour on real input\n\n"
        "   processor  %s; kernels for %s, one thread\n"
        "   limits     %.0f GFLOP/s float32 multiply-add, %.1f GB/s from memory (measured now)\n"
        "   model      %d layers, %d query heads, %d key/value heads of %d features\n\n",
        ATTENTA_VERSION, std::string(attenta::processor_name()).c_str(), name(best), bench::fma_peak(1, best) * 1e-9,
        bench::stream_bandwidth(1) * 1e-9, static_cast<int>(c.layers), static_cast<int>(c.heads),
        static_cast<int>(c.kv_heads), static_cast<int>(c.head_dim));

    std::vector<LayerTensors> layers;
    const bool ok = check_model(model, attenta::TensorFile::load(directory / "reference.safetensors"), layers);

    std::printf(
        "2. How fast is attention on the q, k, v of that run?\n"
        "   time       the fastest of many calls, keys and values in cache\n"
        "   speed-up   over naive Eigen: blocks of Q K^T, softmax by row, times V, compiled for this processor\n"
        "   of roof    time that the operations of the definition take at the multiply-add limit, by the time taken\n"
        "   max error  largest difference of an output to double precision, on unrounded keys and values\n"
        "   mean       over the layers; of the errors the largest\n\n");
    const int tokens = static_cast<int>(layers[0].q.tokens);
    float reach = 0;
    for (const LayerTensors& layer : layers)
        for (const float x : layer.o.values) reach = std::max(reach, std::abs(x));
    std::printf("   Prefill: %d queries, causal, %d keys; outputs reach %.0f\n", tokens, tokens,
                static_cast<double>(reach));
    compare(layers, tokens, best);
    std::printf("   Decode: the last token, %d keys\n", tokens);
    compare(layers, 1, best);
    attenta::set_isa(best);
    return ok ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return tour(argc > 1 ? argv[1] : ATTENTA_MODEL);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
}
