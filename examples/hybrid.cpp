// A stack as Qwen3-Next has it, on synthetic weights: three gated delta layers with a short convolution to one softmax layer with
// rotary positions and an output gate. What prefill and decode take, and what a context costs: states stay as they are, the
// cache of the softmax layers grows.
//
//     hybrid [--context 1024,4096,16384] [--blocks 2] [--width 512] [--threads 1]
#include <attenta/attenta.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/linear.hpp>
#include <attenta/softmax.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>
#include <vector>

using attenta::Context, attenta::Heads, attenta::hnd, attenta::Matrices, attenta::nhd;
using Rows = std::vector<float>;

namespace {

constexpr std::int64_t head = 64, taps = 4;

struct Sizes {
    std::int64_t width, query_heads, kv_heads;  ///< of the softmax layers
    std::int64_t key_heads, value_heads;        ///< of the delta layers
};

Rows random_rows(std::int64_t rows, std::int64_t columns, std::mt19937& random) {
    std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(columns)));
    Rows x(static_cast<std::size_t>(rows * columns));
    for (float& e : x) e = normal(random);
    return x;
}

/// y = x wᵀ of tokens x [n, columns] and weights w [rows, columns].
Rows project(const Rows& x, const Rows& w, std::int64_t n, Context& context) {
    const std::int64_t columns = std::ssize(x) / n, rows = std::ssize(w) / columns;
    Rows y(static_cast<std::size_t>(n * rows));
    attenta::dense::multiply({x.data(), 1, n, columns}, {w.data(), 1, rows, columns}, {y.data(), 1, n, rows},
                             {.b_transposed = true}, context);
    return y;
}
float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }
void normalize(float* x, std::int64_t n) {
    const float squares = std::inner_product(x, x + n, x, 0.f);
    for (std::int64_t i = 0; i < n; ++i) x[i] /= std::sqrt(squares / static_cast<float>(n) + 1e-6f);
}
/// Channels [first, first + heads · head) of rows of `stride` numbers, as heads.
Heads<const float> heads_of(const Rows& x, std::int64_t n, std::int64_t first, std::int64_t heads, std::int64_t dim) {
    return nhd(x.data() + first, n, heads, dim, {.token_stride = std::ssize(x) / n});
}

class DeltaLayer {
public:
    DeltaLayer(const Sizes& s, std::mt19937& random)
        : s_(s),
          channels_((2 * s.key_heads + s.value_heads) * head),
          in_(random_rows(channels_, s.width, random)),
          gates_(random_rows(2 * s.value_heads, s.width, random)),
          z_(random_rows(s.value_heads * head, s.width, random)),
          out_(random_rows(s.width, s.value_heads * head, random)),
          taps_(random_rows(channels_, taps, random)) {}

    void add(Rows& x, std::int64_t n, Context& context) {
        Rows qkv = project(x, in_, n, context), mixed(qkv.size()),
             o(static_cast<std::size_t>(n * s_.value_heads * head));
        Rows gates = project(x, gates_, n, context);
        const Rows z = project(x, z_, n, context);
        attenta::causal_conv(
            {nhd<const float>(qkv.data(), n, 1, channels_), hnd<const float>(taps_.data(), 1, channels_, taps)},
            nhd(mixed.data(), n, 1, channels_), window_, {.activation = attenta::ConvActivation::silu}, context);
        for (std::int64_t t = 0; t < n; ++t)
            for (std::int64_t h = 0; h < 2 * s_.value_heads; ++h) {
                float& gate = gates[static_cast<std::size_t>(t * 2 * s_.value_heads + h)];
                gate = h < s_.value_heads ? -0.2f * sigmoid(gate) : sigmoid(gate);  // logarithms of decays, then β
            }
        const std::int64_t keys = s_.key_heads * head;
        const auto numbers = [&](std::int64_t first) { return heads_of(gates, n, first, s_.value_heads, 1); };
        attenta::gated_delta_rule({.q = heads_of(mixed, n, 0, s_.key_heads, head),
                                   .k = heads_of(mixed, n, keys, s_.key_heads, head),
                                   .v = heads_of(mixed, n, 2 * keys, s_.value_heads, head),
                                   .g = numbers(0),
                                   .beta = numbers(s_.value_heads)},
                                  nhd(o.data(), n, s_.value_heads, head), state_, {.qk_l2norm = true}, context);
        for (std::size_t i = 0; i < o.size(); i += head) {
            normalize(o.data() + i, head);
            for (std::size_t c = i; c < i + head; ++c) o[c] *= z[c] * sigmoid(z[c]);
        }
        const Rows y = project(o, out_, n, context);
        std::transform(x.begin(), x.end(), y.begin(), x.begin(), std::plus<>());
    }
    std::size_t bytes() const { return (state_.matrix.size() + window_.matrix.size()) * sizeof(float); }

private:
    Sizes s_;
    std::int64_t channels_;
    Rows in_, gates_, z_, out_, taps_;
    attenta::LinearState state_, window_;
};

class SoftmaxLayer {
public:
    SoftmaxLayer(const Sizes& s, std::int64_t capacity, std::mt19937& random)
        : s_(s),
          in_(random_rows((2 * s.query_heads + 2 * s.kv_heads) * head, s.width, random)),
          out_(random_rows(s.width, s.query_heads * head, random)),
          table_(head, {.rotary_dim = head / 4, .base = 1e7}, capacity),
          cache_({.kv_heads = s.kv_heads, .dim = head, .capacity = capacity, .storage = attenta::Dtype::bf16}) {}

    void add(Rows& x, std::int64_t n, Context& context) {
        Rows qkv = project(x, in_, n, context), o(static_cast<std::size_t>(n * s_.query_heads * head));
        std::vector<std::int64_t> positions(static_cast<std::size_t>(n));
        std::iota(positions.begin(), positions.end(), tokens_);
        const std::int64_t stride = std::ssize(qkv) / n, queries = s_.query_heads * head, keys = s_.kv_heads * head;
        const auto part = [&](std::int64_t first, std::int64_t heads) {
            return nhd(qkv.data() + first, n, heads, head, {.token_stride = stride});
        };
        for (const Heads<float>& r : {part(0, s_.query_heads), part(queries, s_.kv_heads)})
            attenta::rope_rotate(Heads<const float>(r), positions, r, table_, context);
        cache_.append(0, part(queries, s_.kv_heads), part(queries + keys, s_.kv_heads));
        cache_.attend(0, part(0, s_.query_heads), nhd(o.data(), n, s_.query_heads, head),
                      {.causal = true, .output_gate = part(queries + 2 * keys, s_.query_heads)}, nullptr, context);
        const Rows y = project(o, out_, n, context);
        std::transform(x.begin(), x.end(), y.begin(), x.begin(), std::plus<>());
        tokens_ += n;
    }
    std::size_t bytes() const {
        return static_cast<std::size_t>(tokens_ * 2 * s_.kv_heads * head) * sizeof(attenta::bfloat16);
    }

private:
    Sizes s_;
    Rows in_, out_;
    attenta::RopeTable table_;
    attenta::KvCache cache_;
    std::int64_t tokens_ = 0;
};

/// Blocks of three delta layers and a softmax layer, each behind a norm.
class Stack {
public:
    Stack(const Sizes& s, std::int64_t blocks, std::int64_t capacity) : width_(s.width) {
        std::mt19937 random(1);
        for (std::int64_t b = 0; b < blocks; ++b) {
            for (int i = 0; i < 3; ++i) delta_.emplace_back(s, random);
            softmax_.emplace_back(s, capacity, random);
        }
    }
    void run(Rows& x, Context& context) {
        const std::int64_t n = std::ssize(x) / width_;
        const auto norm = [&] {
            for (std::int64_t t = 0; t < n; ++t) normalize(x.data() + t * width_, width_);
        };
        for (std::size_t i = 0; i < delta_.size(); ++i) {
            norm();
            delta_[i].add(x, n, context);
            if (i % 3 == 2) softmax_[i / 3].add(x, n, context);
        }
    }
    template <class Layers>
    static double megabytes(const Layers& layers) {
        std::size_t sum = 0;
        for (const auto& layer : layers) sum += layer.bytes();
        return static_cast<double>(sum) * 1e-6;
    }
    double state_megabytes() const { return megabytes(delta_); }
    double cache_megabytes() const { return megabytes(softmax_); }

private:
    std::int64_t width_;
    std::vector<DeltaLayer> delta_;
    std::vector<SoftmaxLayer> softmax_;
};

double seconds(const auto& run) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::int64_t> contexts = {1024, 4096, 16384};
    std::int64_t blocks = 2, width = 512, steps = 32, chunk = 512;
    int threads = 1;
    CLI::App app("Three gated delta layers to one softmax layer: tokens per second, and memory as the context grows.");
    app.add_option("--context", contexts, "tokens of the prompts")->delimiter(',')->check(CLI::Range(1, 1 << 20));
    app.add_option("--blocks", blocks, "of four layers")->check(CLI::Range(1, 64));
    app.add_option("--width", width, "of the hidden states, a multiple of 256")->check(CLI::Range(256, 8192));
    app.add_option("--threads", threads, "threads")->check(CLI::Range(1, 256));
    CLI11_PARSE(app, argc, argv);

    const std::int64_t heads = width / head;
    const Sizes sizes{width, heads, std::max<std::int64_t>(heads / 4, 1), std::max<std::int64_t>(heads / 2, 1), heads};
    attenta::ThreadPool pool(threads);
    Context context(pool);
    std::printf("%10s %18s %18s %14s %14s\n", "context", "prefill, tokens/s", "decode, tokens/s", "states, MB",
                "cache, MB");
    bool finite = true;
    for (const std::int64_t tokens : contexts) {
        Stack stack(sizes, blocks, tokens + steps);
        std::mt19937 random(2);
        const auto hidden = [&](std::int64_t n) { return random_rows(n, width, random); };
        Rows x;
        const double prefill = seconds([&] {
            for (std::int64_t t = 0; t < tokens; t += chunk) {
                x = hidden(std::min(chunk, tokens - t));
                stack.run(x, context);
            }
        });
        const double decode = seconds([&] {
            for (std::int64_t i = 0; i < steps; ++i) {
                x = hidden(1);
                stack.run(x, context);
            }
        });
        finite = finite && std::all_of(x.begin(), x.end(), [](float e) { return std::isfinite(e); });
        std::printf("%10lld %18.0f %18.0f %14.2f %14.2f\n", static_cast<long long>(tokens),
                    static_cast<double>(tokens) / prefill, static_cast<double>(steps) / decode, stack.state_megabytes(),
                    stack.cache_megabytes());
    }
    return finite ? 0 : 1;
}
