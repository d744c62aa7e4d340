// A Llama decoder around attenta: configuration, weights, one forward pass.
//
//   x ← x + W_o · attention(rotate(W_q n), rotate(W_k n), W_v n)      n = rms_norm(x), keys and values in a KvCache
//   x ← x + W_down · (silu(W_gate n) · W_up n)                        n = rms_norm(x)
//
// Touvron et al. 2023. Mistral (Jiang et al. 2023) is the same with a sliding window, Qwen2 (Yang et al. 2024) with
// biases of Q, K and V, and windows in its upper layers on request. Weights are widened to float; matrix products are
// Eigen's, attention is attenta's.
#pragma once

#include <attenta/attenta.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace llama {

using Token = std::int32_t;

/// What the configuration says of the projections' biases. Empty: nothing, then those in the files count.
struct Biases {
    std::optional<bool> qkv, o, mlp;
};

/// What config.json says.
struct Config {
    std::int64_t layers = 0, hidden = 0, intermediate = 0, vocab = 0;
    std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
    std::int64_t max_positions = 0;
    float rms_eps = 0;
    std::vector<double> frequencies;  ///< [head_dim / 2] of the rotary embedding, radians per token, scaling applied
    std::vector<std::int64_t> window_left;  ///< [layers] keys before its own that a query sees, -1: all
    bool tied = false;
    Biases biases;
    std::vector<Token> end_tokens;

    bool has_windows() const {
        return std::any_of(window_left.begin(), window_left.end(), [](std::int64_t w) { return w >= 0; });
    }
    /// Throws attenta::Error for anything that is not a Llama, Mistral or Qwen2 this file computes.
    static Config load(const std::filesystem::path& path);
};

/// y = W x + b
struct Linear {
    std::int64_t out = 0, in = 0;
    std::vector<float> weight;  ///< [out, in]
    std::vector<float> bias;    ///< [out], or empty
};

struct Layer {
    std::vector<float> attention_norm, mlp_norm;
    Linear q, k, v, o, gate, up, down;
};

/// Sees every layer's attention: q [Hq, n, D] and k [Hkv, n, D] after rotation, v [Hkv, n, D], o [Hq, n, D] before W_o,
/// all of the n tokens of this call.
using Observer = std::function<void(std::int64_t layer, attenta::Heads<const float> q, attenta::Heads<const float> k,
                                    attenta::Heads<const float> v, attenta::Heads<const float> o)>;

/// Attention of a layer, with whatever it keeps of earlier calls: q [Hq, n, D] and k [Hkv, n, D] after rotation, v [Hkv, n,
/// D] of the n tokens of this call; it writes o [Hq, n, D].
using Attention = std::function<void(std::int64_t layer, attenta::Heads<const float> q, attenta::Heads<const float> k,
                                     attenta::Heads<const float> v, attenta::Heads<float> o)>;

class Model {
public:
    /// Reads config.json and model.safetensors in F32, F16 or BF16. Where there is a model.safetensors.index.json, it
    /// alone decides which file each weight comes from. Throws attenta::Error for missing, ill-shaped and unused
    /// weights and whatever else it cannot compute.
    explicit Model(const std::filesystem::path& directory);

    const Config& config() const { return config_; }

    /// Of a cache for this model.
    attenta::CacheOptions cache_options(std::int64_t capacity, const attenta::KvStorage& storage = {}) const;
    attenta::KvCache make_cache(std::int64_t capacity, const attenta::KvStorage& storage = {}) const {
        return attenta::KvCache(cache_options(capacity, storage));
    }

    /// Runs tokens that follow those in the cache, which then holds them too. Returns the logits of the last `rows`
    /// of them, [rows, vocab]. Throws attenta::Error for tokens outside the vocabulary and when the cache is full.
    std::vector<float> forward(std::span<const Token> tokens, attenta::KvCache& cache, std::int64_t rows = 1,
                               attenta::Context& context = attenta::default_context(),
                               const Observer& observer = {}) const;
    /// The same of tokens at any positions [n], of one sequence or of several, with attention of one's own.
    std::vector<float> forward(std::span<const Token> tokens, std::span<const std::int64_t> positions,
                               const Attention& attention, std::int64_t rows = 1,
                               attenta::Context& context = attenta::default_context()) const;

private:
    Config config_;
    Linear embedding_, head_;  ///< a tied head is empty
    std::vector<Layer> layers_;
    std::vector<float> final_norm_;
};

/// The most likely token of a row of logits.
Token most_likely(std::span<const float> logits);

}  // namespace llama
