// Reading a Llama: config.json and safetensors files, and the reasons to refuse them.
#include "llama.hpp"

#include <attenta/catalog.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numbers>
#include <optional>
#include <set>
#include <string>

namespace llama {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

[[noreturn]] void refuse(const std::string& reason) { attenta::fail("llama", reason); }

Json read_json(const fs::path& path) {
    std::ifstream in(path);
    if (!in) refuse("cannot read " + path.string());
    Json json = Json::parse(in, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) refuse(path.string() + " is not a JSON object");
    return json;
}

/// The fields of a JSON object; null counts as absent.
class Fields {
public:
    explicit Fields(Json json) : json_(std::move(json)) {}

    bool has(const char* name) const { return json_.contains(name) && !json_[name].is_null(); }
    const Json& at(const char* name) const { return json_.at(name); }
    const Json& json() const { return json_; }

    std::int64_t size(const char* name, std::optional<std::int64_t> fallback = {}) const {
        if (!has(name)) return fallback ? *fallback : missing(name);
        const Json& x = json_[name];
        constexpr std::int64_t most = std::int64_t{1} << 30;
        if (!x.is_number_integer() || x < 1 || x > most) ill(name, "a positive integer");
        return x;
    }
    double positive(const char* name, std::optional<double> fallback = {}) const {
        if (!has(name)) return fallback ? *fallback : static_cast<double>(missing(name));
        const Json& x = json_[name];
        if (!x.is_number() || !(x > 0)) ill(name, "a positive number");
        return x;
    }
    bool flag(const char* name) const {
        if (!has(name)) return false;
        if (!json_[name].is_boolean()) ill(name, "true or false");
        return json_[name];
    }
    std::string text(const char* name, const std::string& fallback) const {
        if (!has(name)) return fallback;
        if (!json_[name].is_string()) ill(name, "a string");
        return json_[name];
    }
    Fields object(const char* name) const {
        if (!has(name)) return Fields(Json::object());
        if (!json_[name].is_object()) ill(name, "an object");
        return Fields(json_[name]);
    }
    [[noreturn]] void ill(const char* name, const std::string& needed) const {
        refuse("config.json: " + std::string(name) + " is " + json_[name].dump() + ", needs " + needed);
    }

private:
    [[noreturn]] static std::int64_t missing(const char* name) {
        refuse("config.json: " + std::string(name) + " is missing");
    }

    Json json_;
};

void require_llama(const Fields& f) {
    if (!f.has("architectures") && !f.has("model_type"))
        refuse("config.json names neither architectures nor model_type");
    if (f.has("architectures") && f.at("architectures") != Json{"LlamaForCausalLM"})
        f.ill("architectures", "[\"LlamaForCausalLM\"]");
    if (f.text("model_type", "llama") != "llama") f.ill("model_type", "\"llama\"");
    if (f.text("hidden_act", "silu") != "silu") f.ill("hidden_act", "\"silu\"");
    if (f.has("quantization_config"))
        refuse("config.json: quantization_config is set, needs plain F32, F16 or BF16 weights");
}

/// Llama 3: long waves are stretched by `factor`, short ones left alone, those between interpolated.
double stretched(double frequency, const Fields& rope) {
    const double factor = rope.positive("factor"), low = rope.positive("low_freq_factor"),
                 high = rope.positive("high_freq_factor");
    const double turns = rope.positive("original_max_position_embeddings") * frequency / (2 * std::numbers::pi);
    if (high <= low) rope.ill("high_freq_factor", "more than low_freq_factor");
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    return frequency * (kept + (1 - kept) / factor);
}

std::vector<double> rotary_frequencies(const Fields& f, std::int64_t head_dim) {
    const Fields rope = f.object(f.has("rope_parameters") ? "rope_parameters" : "rope_scaling");
    const double theta = rope.positive("rope_theta", f.positive("rope_theta", 10000));
    const std::string type = rope.text("rope_type", rope.text("type", "default"));
    std::vector<double> frequencies;
    for (std::int64_t c = 0; c < head_dim / 2; ++c) {
        double frequency = std::pow(theta, -2 * static_cast<double>(c) / static_cast<double>(head_dim));
        if (type == "linear")
            frequency /= rope.positive("factor");
        else if (type == "llama3")
            frequency = stretched(frequency, rope);
        else if (type != "default")
            refuse("config.json: rope scaling is " + type + ", needs default, linear or llama3");
        frequencies.push_back(frequency);
    }
    return frequencies;
}

std::vector<Token> read_end_tokens(const Fields& f) {
    if (!f.has("eos_token_id")) return {};
    const Json& ids = f.at("eos_token_id");
    const auto is_token = [](const Json& id) { return id.is_number_integer(); };
    if (is_token(ids)) return {ids.get<Token>()};
    if (!ids.is_array() || !std::all_of(ids.begin(), ids.end(), is_token)) f.ill("eos_token_id", "token numbers");
    return ids.get<std::vector<Token>>();
}

std::string to_string(const std::vector<std::int64_t>& shape) {
    std::string s;
    for (const std::int64_t n : shape) s += (s.empty() ? "" : ", ") + std::to_string(n);
    return "[" + s + "]";
}

/// Weights by name; each is handed out once, as float.
class Weights {
public:
    explicit Weights(const fs::path& directory) {
        const fs::path index = directory / "model.safetensors.index.json";
        std::set<std::string> files{"model.safetensors"};
        if (fs::exists(index)) files = shards(index);
        for (const std::string& file : files) tensors_.merge(attenta::TensorFile::load(directory / file).tensors);
    }

    std::vector<float> take(const std::string& name, const std::vector<std::int64_t>& shape) {
        const auto node = tensors_.extract(name);
        if (node.empty()) refuse("weight " + name + " is missing");
        const attenta::Tensor& tensor = node.mapped();
        if (tensor.shape != shape)
            refuse("weight " + name + " is " + to_string(tensor.shape) + ", needs " + to_string(shape));
        using enum attenta::TensorType;
        if (tensor.type != f32 && tensor.type != f16 && tensor.type != bf16)
            refuse("weight " + name + " is neither F32, F16 nor BF16");
        return tensor.to_float();
    }

    Linear linear(const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
        Linear f{out, in, take(name + ".weight", {out, in}), {}};
        if (bias) f.bias = take(name + ".bias", {out});
        return f;
    }

private:
    static std::set<std::string> shards(const fs::path& index) {
        std::set<std::string> files;
        const Fields map = Fields(read_json(index)).object("weight_map");
        for (const auto& [weight, file] : map.json().items()) {
            if (!file.is_string() || fs::path(file).filename() != file.get<std::string>())
                refuse(index.string() + ": the file of " + weight + " is " + file.dump());
            files.insert(file);
        }
        return files;
    }

    std::map<std::string, attenta::Tensor> tensors_;
};

Layer read_layer(Weights& weights, const Config& c, std::int64_t l) {
    const std::string layer = "model.layers." + std::to_string(l) + ".", attention = layer + "self_attn.",
                      mlp = layer + "mlp.";
    const std::int64_t q_dim = c.heads * c.head_dim, kv_dim = c.kv_heads * c.head_dim;
    return {.attention_norm = weights.take(layer + "input_layernorm.weight", {c.hidden}),
            .mlp_norm = weights.take(layer + "post_attention_layernorm.weight", {c.hidden}),
            .q = weights.linear(attention + "q_proj", q_dim, c.hidden, c.attention_bias),
            .k = weights.linear(attention + "k_proj", kv_dim, c.hidden, c.attention_bias),
            .v = weights.linear(attention + "v_proj", kv_dim, c.hidden, c.attention_bias),
            .o = weights.linear(attention + "o_proj", c.hidden, q_dim, c.attention_bias),
            .gate = weights.linear(mlp + "gate_proj", c.intermediate, c.hidden, c.mlp_bias),
            .up = weights.linear(mlp + "up_proj", c.intermediate, c.hidden, c.mlp_bias),
            .down = weights.linear(mlp + "down_proj", c.hidden, c.intermediate, c.mlp_bias)};
}

}  // namespace

Config Config::load(const fs::path& path) {
    const Fields f(read_json(path));
    require_llama(f);

    Config c;
    c.layers = f.size("num_hidden_layers");
    c.hidden = f.size("hidden_size");
    c.intermediate = f.size("intermediate_size");
    c.vocab = f.size("vocab_size");
    c.heads = f.size("num_attention_heads");
    c.kv_heads = f.size("num_key_value_heads", c.heads);
    c.max_positions = f.size("max_position_embeddings", 2048);
    if (c.heads % c.kv_heads != 0) f.ill("num_key_value_heads", "a divisor of num_attention_heads");
    if (!f.has("head_dim") && c.hidden % c.heads != 0) f.ill("hidden_size", "a multiple of num_attention_heads");
    c.head_dim = f.size("head_dim", c.hidden / c.heads);
    if (c.head_dim % 2 != 0)
        refuse("config.json: head_dim is " + std::to_string(c.head_dim) + ", needs an even number");
    c.rms_eps = static_cast<float>(f.positive("rms_norm_eps", 1e-6));
    c.frequencies = rotary_frequencies(f, c.head_dim);
    c.tied = f.flag("tie_word_embeddings");
    c.attention_bias = f.flag("attention_bias");
    c.mlp_bias = f.flag("mlp_bias");
    c.end_tokens = read_end_tokens(f);
    return c;
}

Model::Model(const fs::path& directory) : config_(Config::load(directory / "config.json")) {
    Weights weights(directory);
    embedding_ = weights.linear("model.embed_tokens", config_.vocab, config_.hidden, false);
    for (std::int64_t l = 0; l < config_.layers; ++l) layers_.push_back(read_layer(weights, config_, l));
    final_norm_ = weights.take("model.norm.weight", {config_.hidden});
    if (!config_.tied) head_ = weights.linear("lm_head", config_.vocab, config_.hidden, false);
}

}  // namespace llama
