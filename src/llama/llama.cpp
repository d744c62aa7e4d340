#include "llama.hpp"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

namespace llama {
namespace {

using attenta::Context;
using attenta::Executor;
using attenta::Heads;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;  // [tokens, features]
using ConstMatrix = Eigen::Map<const Matrix>;
using ConstRow = Eigen::Map<const Eigen::RowVectorXf>;

ConstRow row_of(const std::vector<float>& x) { return {x.data(), static_cast<Eigen::Index>(x.size())}; }

/// X Wᵀ + b, split by outputs over the executor's threads.
Matrix apply(const Linear& f, const Matrix& x, Executor& executor) {
    constexpr std::int64_t block = 256;
    const ConstMatrix w(f.weight.data(), f.out, f.in);
    Matrix y(x.rows(), f.out);
    executor.parallel_for((f.out + block - 1) / block, [&](std::int64_t task, int) {
        const std::int64_t first = task * block, count = std::min(block, f.out - first);
        y.middleCols(first, count).noalias() = x * w.middleRows(first, count).transpose();
        if (!f.bias.empty()) y.middleCols(first, count).rowwise() += row_of(f.bias).segment(first, count);
    });
    return y;
}

Matrix rms_norm(const Matrix& x, const std::vector<float>& weight, float eps) {
    const Eigen::ArrayXf factor = (x.array().square().rowwise().mean() + eps).rsqrt();
    return (x.array().colwise() * factor).rowwise() * row_of(weight).array();
}

Matrix silu(const Matrix& x) { return x.array() / (1 + (-x.array()).exp()); }

/// Angles position · frequency, formed in double.
struct Rotation {
    Eigen::MatrixXf cos, sin;  // [head_dim / 2, tokens]

    Rotation(const std::vector<double>& frequencies, std::span<const std::int64_t> at) {
        const Eigen::Map<const Eigen::VectorXd> f(frequencies.data(), static_cast<Eigen::Index>(frequencies.size()));
        const Eigen::Map<const Eigen::RowVector<std::int64_t, Eigen::Dynamic>> positions(
            at.data(), static_cast<Eigen::Index>(at.size()));
        const Eigen::ArrayXXd angles = f * positions.cast<double>();
        cos = angles.cos().cast<float>();
        sin = angles.sin().cast<float>();
    }

    /// Channel c pairs with c + head_dim / 2.
    void operator()(Heads<float> x) const {
        const Eigen::Index half = x.dim / 2;
        for (std::int64_t t = 0; t < x.tokens; ++t) {
            for (std::int64_t h = 0; h < x.heads; ++h) {
                Eigen::Map<Eigen::ArrayXf> low(x.row(h, t), half), high(x.row(h, t) + half, half);
                const Eigen::ArrayXf turned = low * cos.col(t).array() - high * sin.col(t).array();
                high = high * cos.col(t).array() + low * sin.col(t).array();
                low = turned;
            }
        }
    }
};

Heads<float> heads_of(Matrix& x, std::int64_t heads) {
    return attenta::nhd(x.data(), x.rows(), heads, x.cols() / heads);
}

}  // namespace

attenta::CacheOptions Model::cache_options(std::int64_t capacity, const attenta::KvStorage& storage) const {
    return {.layers = static_cast<int>(config_.layers),
            .kv_heads = config_.kv_heads,
            .dim = config_.head_dim,
            .capacity = capacity,
            .storage = storage};
}

std::vector<float> Model::forward(std::span<const Token> tokens, attenta::KvCache& cache, std::int64_t rows,
                                  Context& context, const Observer& observer) const {
    std::vector<std::int64_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), cache.seen());
    const auto attention = [&](std::int64_t layer, Heads<const float> q, Heads<const float> k, Heads<const float> v,
                               Heads<float> o) {
        cache.append(static_cast<int>(layer), k, v);
        const attenta::SoftmaxOptions options{.causal = true,
                                              .window_left = config_.window_left[static_cast<std::size_t>(layer)]};
        cache.attend(static_cast<int>(layer), q, o, options, nullptr, context);
        if (observer) observer(layer, q, k, v, o);
    };
    return forward(tokens, positions, attention, rows, context);
}

std::vector<float> Model::forward(std::span<const Token> tokens, std::span<const std::int64_t> positions,
                                  const Attention& attention, std::int64_t rows, Context& context) const {
    const auto n = static_cast<std::int64_t>(tokens.size());
    if (positions.size() != tokens.size())
        attenta::fail("llama", "there are " + std::to_string(positions.size()) + " positions of " + std::to_string(n) +
                                   " tokens");
    if (rows < 1 || rows > n)
        attenta::fail("llama", "rows is " + std::to_string(rows) + ", there are " + std::to_string(n) + " tokens");

    Matrix x(n, config_.hidden);
    for (std::int64_t i = 0; i < n; ++i) {
        const Token token = tokens[static_cast<std::size_t>(i)];
        if (token < 0 || token >= config_.vocab)
            attenta::fail(
                "llama", "token is " + std::to_string(token) + ", the vocabulary has " + std::to_string(config_.vocab));
        x.row(i) = ConstRow(embedding_.weight.data() + token * config_.hidden, config_.hidden);
    }

    Executor& executor = context.executor();
    const Rotation rotate(config_.frequencies, positions);
    Matrix o(n, config_.heads * config_.head_dim);
    for (std::int64_t l = 0; l < config_.layers; ++l) {
        const Layer& layer = layers_[static_cast<std::size_t>(l)];
        Matrix in = rms_norm(x, layer.attention_norm, config_.rms_eps);
        Matrix q = apply(layer.q, in, executor), k = apply(layer.k, in, executor), v = apply(layer.v, in, executor);
        const auto q_heads = heads_of(q, config_.heads), k_heads = heads_of(k, config_.kv_heads);
        const auto v_heads = heads_of(v, config_.kv_heads), o_heads = heads_of(o, config_.heads);
        rotate(q_heads);
        rotate(k_heads);
        attention(l, q_heads, k_heads, v_heads, o_heads);
        x += apply(layer.o, o, executor);

        in = rms_norm(x, layer.mlp_norm, config_.rms_eps);
        const Matrix gated = silu(apply(layer.gate, in, executor)).cwiseProduct(apply(layer.up, in, executor));
        x += apply(layer.down, gated, executor);
    }

    const Matrix last = rms_norm(x.bottomRows(rows), final_norm_, config_.rms_eps);
    const Matrix logits = apply(config_.tied ? embedding_ : head_, last, executor);
    return {logits.data(), logits.data() + logits.size()};
}

Token most_likely(std::span<const float> logits) {
    return static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace llama
