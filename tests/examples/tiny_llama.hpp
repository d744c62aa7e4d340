// A Llama of random weights, small enough for its definition: the forward pass in double, straight from the equations.
#pragma once

#include <attenta/catalog.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

struct TinyLlama {
    static constexpr std::int64_t layers = 3, hidden = 16, intermediate = 24, vocab = 40, heads = 4, kv_heads = 2,
                                  dim = 6;

    nlohmann::json config{{"architectures", {"LlamaForCausalLM"}},
                          {"model_type", "llama"},
                          {"num_hidden_layers", layers},
                          {"hidden_size", hidden},
                          {"intermediate_size", intermediate},
                          {"vocab_size", vocab},
                          {"num_attention_heads", heads},
                          {"num_key_value_heads", kv_heads},
                          {"head_dim", dim},
                          {"max_position_embeddings", 64},
                          {"rms_norm_eps", 1e-5},
                          {"rope_theta", 100.0}};
    attenta::Tensors weights;

    TinyLlama() {
        add("model.embed_tokens.weight", {vocab, hidden});
        add("model.norm.weight", {hidden});
        add("lm_head.weight", {vocab, hidden});
        for (std::int64_t l = 0; l < layers; ++l) {
            for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
                add(at(l, norm, "weight"), {hidden});
            for (const auto& [name, out, in] : projections) add(at(l, name, "weight"), {out, in});
        }
    }

    /// A bias of this projection in every layer.
    void add_bias(const std::string& projection) {
        for (const auto& [name, out, in] : projections)
            for (std::int64_t l = 0; name == projection && l < layers; ++l) add(at(l, name, "bias"), {out});
    }

    /// "model.layers.0.self_attn.q_proj.weight"
    static std::string at(std::int64_t layer, const std::string& name, const std::string& what) {
        return "model.layers." + std::to_string(layer) + "." + name + "." + what;
    }

    void add(const std::string& name, const std::vector<std::int64_t>& shape) {
        attenta::Tensor& tensor = weights[name] = attenta::Tensor::zeros(attenta::TensorType::f32, shape);
        std::normal_distribution<float> normal(shape.size() == 1 ? 1.f : 0.f, 0.5f);
        for (float& x : tensor.as<float>()) x = normal(random_);
    }

    struct Projection {
        std::string name;
        std::int64_t out, in;
    };
    static inline const std::vector<Projection> projections{
        {"self_attn.q_proj", heads* dim, hidden},    {"self_attn.k_proj", kv_heads* dim, hidden},
        {"self_attn.v_proj", kv_heads* dim, hidden}, {"self_attn.o_proj", hidden, heads* dim},
        {"mlp.gate_proj", intermediate, hidden},     {"mlp.up_proj", intermediate, hidden},
        {"mlp.down_proj", hidden, intermediate}};

private:
    std::mt19937 random_{7};
};

/// The forward pass: each query of layer l sees windows[l] keys, its own counted. Returns [tokens][vocab].
class NaiveLlama {
public:
    using Row = std::vector<double>;
    using Rows = std::vector<Row>;

    static Rows logits(const TinyLlama& model, const std::vector<std::int32_t>& tokens,
                       const std::vector<std::int64_t>& windows) {
        const NaiveLlama naive{model.weights};
        Rows x;
        for (const std::int32_t token : tokens) {
            const Row table = naive.values("model.embed_tokens.weight");
            x.emplace_back(table.begin() + token * TinyLlama::hidden, table.begin() + (token + 1) * TinyLlama::hidden);
        }
        for (std::int64_t l = 0; l < TinyLlama::layers; ++l) {
            const std::string layer = "model.layers." + std::to_string(l) + ".";
            const Rows n = naive.norm(layer + "input_layernorm", x), k = naive.heads(layer + "self_attn.k_proj", n),
                       v = naive.linear(layer + "self_attn.v_proj", n);
            const Rows o =
                attention(naive.heads(layer + "self_attn.q_proj", n), k, v, windows[static_cast<std::size_t>(l)]);
            add(x, naive.linear(layer + "self_attn.o_proj", o));

            const Rows m = naive.norm(layer + "post_attention_layernorm", x),
                       up = naive.linear(layer + "mlp.up_proj", m);
            Rows gate = naive.linear(layer + "mlp.gate_proj", m);
            for (std::size_t i = 0; i < gate.size(); ++i)
                for (std::size_t c = 0; c < gate[i].size(); ++c) gate[i][c] *= up[i][c] / (1 + std::exp(-gate[i][c]));
            add(x, naive.linear(layer + "mlp.down_proj", gate));
        }
        return naive.linear("lm_head", naive.norm("model.norm", x));
    }

private:
    explicit NaiveLlama(const attenta::Tensors& weights) : weights_(weights) {}

    Row values(const std::string& name) const {
        const std::vector<float> floats = weights_.at(name).to_float();
        return {floats.begin(), floats.end()};
    }

    /// W x + b, with b where there is one.
    Rows linear(const std::string& name, const Rows& x) const {
        const Row w = values(name + ".weight");
        const std::size_t out = static_cast<std::size_t>(weights_.at(name + ".weight").shape[0]);
        const Row b = weights_.contains(name + ".bias") ? values(name + ".bias") : Row(out, 0.0);
        Rows y;
        for (const Row& row : x) {
            y.push_back(b);
            for (std::size_t r = 0; r < out; ++r)
                for (std::size_t c = 0; c < row.size(); ++c) y.back()[r] += w[r * row.size() + c] * row[c];
        }
        return y;
    }

    Rows norm(const std::string& name, Rows x) const {
        const Row weight = values(name + ".weight");
        for (Row& row : x) {
            double squares = 0;
            for (const double c : row) squares += c * c;
            const double factor = 1 / std::sqrt(squares / static_cast<double>(row.size()) + 1e-5);
            for (std::size_t c = 0; c < row.size(); ++c) row[c] *= factor * weight[c];
        }
        return x;
    }

    /// A projection whose heads are rotated: channel c of a head with channel c + dim / 2.
    Rows heads(const std::string& name, const Rows& x) const {
        constexpr std::size_t dim = TinyLlama::dim, half = dim / 2;
        Rows y = linear(name, x);
        for (std::size_t t = 0; t < y.size(); ++t)
            for (std::size_t first = 0; first < y[t].size(); first += dim)
                for (std::size_t c = first; c < first + half; ++c) {
                    const double angle =
                        static_cast<double>(t) * std::pow(100.0, -2.0 * static_cast<double>(c - first) / dim);
                    const double low = y[t][c], high = y[t][c + half];
                    y[t][c] = low * std::cos(angle) - high * std::sin(angle);
                    y[t][c + half] = high * std::cos(angle) + low * std::sin(angle);
                }
        return y;
    }

    static Rows attention(const Rows& q, const Rows& k, const Rows& v, std::int64_t window) {
        constexpr std::size_t dim = TinyLlama::dim, group = TinyLlama::heads / TinyLlama::kv_heads;
        Rows o(q.size(), Row(q[0].size(), 0.0));
        for (std::size_t i = 0; i < q.size(); ++i)
            for (std::size_t h = 0; h < TinyLlama::heads; ++h) {
                const std::size_t q0 = h * dim, k0 = h / group * dim;
                double sum = 0;
                for (std::size_t j = 0; j <= i; ++j) {
                    if (static_cast<std::int64_t>(i - j) >= window) continue;
                    double score = 0;
                    for (std::size_t c = 0; c < dim; ++c) score += q[i][q0 + c] * k[j][k0 + c];
                    const double weight = std::exp(score / std::sqrt(static_cast<double>(dim)));
                    sum += weight;
                    for (std::size_t c = 0; c < dim; ++c) o[i][q0 + c] += weight * v[j][k0 + c];
                }
                for (std::size_t c = 0; c < dim; ++c) o[i][q0 + c] /= sum;
            }
        return o;
    }

    static void add(Rows& x, const Rows& y) {
        for (std::size_t i = 0; i < x.size(); ++i)
            for (std::size_t c = 0; c < x[i].size(); ++c) x[i][c] += y[i][c];
    }

    const attenta::Tensors& weights_;
};
