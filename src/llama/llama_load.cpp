// Reading a Llama's weights from safetensors files: each is taken from the file that the index names, and none that
// would change the model is left over.
#include "llama.hpp"
#include "llama_json.hpp"

#include <attenta/catalog.hpp>

#include <map>
#include <optional>
#include <set>
#include <string>

namespace llama {
namespace {

namespace fs = std::filesystem;

std::string to_string(const std::vector<std::int64_t>& shape) {
    std::string s;
    for (const std::int64_t n : shape) s += (s.empty() ? "" : ", ") + std::to_string(n);
    return "[" + s + "]";
}

/// Names like "model.norm.weight" and "lm_head.weight", whatever a wrapper put before them.
bool is_of_the_model(const std::string& name) {
    const std::string path = "." + name;
    return path.find(".model.") != std::string::npos || path.find(".lm_head.") != std::string::npos;
}

/// Tables of the rotary embedding, which older writers saved and which follow from the configuration.
bool is_rotary_buffer(const std::string& name) {
    return name.ends_with("rotary_emb.inv_freq") || name.ends_with("rotary_emb.cos_cached") ||
           name.ends_with("rotary_emb.sin_cached");
}

/// Weights by name; each is handed out once, as float.
class Weights {
public:
    explicit Weights(const fs::path& directory) {
        const fs::path index = directory / "model.safetensors.index.json";
        if (fs::exists(fs::symlink_status(index)))
            load_shards(directory, weight_map(index));
        else
            for (auto& [name, tensor] : attenta::TensorFile::load(directory / "model.safetensors").tensors)
                weights_[name] = {std::move(tensor), "model.safetensors"};
    }

    bool has(const std::string& name) const { return weights_.contains(name); }

    std::vector<float> take(const std::string& name, const std::vector<std::int64_t>& shape) {
        const auto node = weights_.extract(name);
        if (node.empty()) refuse("weight " + name + " is missing");
        const auto& [tensor, file, listed] = node.mapped();
        if (!listed) refuse("weight " + name + " stands in " + file + ", but the index does not name it");
        if (tensor.shape != shape)
            refuse("weight " + name + " is " + to_string(tensor.shape) + ", needs " + to_string(shape));
        using enum attenta::TensorType;
        if (tensor.type != f32 && tensor.type != f16 && tensor.type != bf16)
            refuse("weight " + name + " is " + std::string(attenta::name(tensor.type)) + ", needs F32, F16 or BF16");
        return tensor.to_float();
    }

    Linear linear(const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
        Linear f{out, in, take(name + ".weight", {out, in}), {}};
        if (bias) f.bias = take(name + ".bias", {out});
        return f;
    }

    /// Throws Error if weights are left that would change the model.
    void refuse_rest() const {
        for (const auto& [name, weight] : weights_)
            if (is_of_the_model(name) && !is_rotary_buffer(name))
                refuse("weight " + name + " of " + weight.file + " belongs to the model, but nothing here uses it");
    }

private:
    struct Weight {
        attenta::Tensor tensor;
        std::string file;
        bool listed = true;  ///< in the index, if there is one
    };
    using FileOf = std::map<std::string, std::string>;

    static FileOf weight_map(const fs::path& index) {
        const Fields fields = Fields::load(index);
        if (!fields.has("weight_map")) fields.missing("weight_map");
        const Fields map = fields.object("weight_map");
        FileOf file_of;
        for (const auto& [weight, file] : map.json().items()) {
            if (!file.is_string() || fs::path(file).filename() != file.get<std::string>())
                refuse(index.string() + ": the file of " + weight + " is " + file.dump());
            file_of[weight] = file;
        }
        return file_of;
    }

    /// Copies of a weight in other files than the index gives for it are stale and left out.
    void load_shards(const fs::path& directory, const FileOf& file_of) {
        std::set<std::string> files;
        for (const auto& [name, file] : file_of) files.insert(file);
        for (const std::string& file : files)
            for (auto& [name, tensor] : attenta::TensorFile::load(directory / file).tensors) {
                const auto place = file_of.find(name);
                const bool listed = place != file_of.end();
                if (!listed || place->second == file) weights_[name] = {std::move(tensor), file, listed};
            }
        for (const auto& [name, file] : file_of)
            if (!has(name)) refuse("weight " + name + " is missing in " + file + ", where the index places it");
    }

    std::map<std::string, Weight> weights_;
};

/// Which projections have a bias, the same in every layer: where the configuration says nothing, those of layer 0.
struct Biased {
    bool q, k, v, o, gate, up, down;

    Biased(const Weights& weights, const Biases& said) {
        const auto biased = [&](const std::optional<bool>& flag, const std::string& projection) {
            return flag.value_or(weights.has("model.layers.0." + projection + ".bias"));
        };
        q = biased(said.qkv, "self_attn.q_proj");
        k = biased(said.qkv, "self_attn.k_proj");
        v = biased(said.qkv, "self_attn.v_proj");
        o = biased(said.o, "self_attn.o_proj");
        gate = biased(said.mlp, "mlp.gate_proj");
        up = biased(said.mlp, "mlp.up_proj");
        down = biased(said.mlp, "mlp.down_proj");
    }
};

Layer read_layer(Weights& weights, const Config& c, const Biased& biased, std::int64_t l) {
    const std::string layer = "model.layers." + std::to_string(l) + ".", attention = layer + "self_attn.",
                      mlp = layer + "mlp.";
    const std::int64_t q_dim = c.heads * c.head_dim, kv_dim = c.kv_heads * c.head_dim;
    return {.attention_norm = weights.take(layer + "input_layernorm.weight", {c.hidden}),
            .mlp_norm = weights.take(layer + "post_attention_layernorm.weight", {c.hidden}),
            .q = weights.linear(attention + "q_proj", q_dim, c.hidden, biased.q),
            .k = weights.linear(attention + "k_proj", kv_dim, c.hidden, biased.k),
            .v = weights.linear(attention + "v_proj", kv_dim, c.hidden, biased.v),
            .o = weights.linear(attention + "o_proj", c.hidden, q_dim, biased.o),
            .gate = weights.linear(mlp + "gate_proj", c.intermediate, c.hidden, biased.gate),
            .up = weights.linear(mlp + "up_proj", c.intermediate, c.hidden, biased.up),
            .down = weights.linear(mlp + "down_proj", c.hidden, c.intermediate, biased.down)};
}

}  // namespace

Model::Model(const fs::path& directory) : config_(Config::load(directory / "config.json")) {
    Weights weights(directory);
    const Biased biased(weights, config_.biases);
    embedding_ = weights.linear("model.embed_tokens", config_.vocab, config_.hidden, false);
    for (std::int64_t l = 0; l < config_.layers; ++l) layers_.push_back(read_layer(weights, config_, biased, l));
    final_norm_ = weights.take("model.norm.weight", {config_.hidden});
    if (!config_.tied || weights.has("lm_head.weight"))
        head_ = weights.linear("lm_head", config_.vocab, config_.hidden, false);
    if (config_.tied && !head_.weight.empty()) {
        if (head_.weight != embedding_.weight)
            refuse("weight lm_head.weight is not model.embed_tokens.weight, to which tie_word_embeddings ties it");
        head_ = {};
    }
    weights.refuse_rest();
}

}  // namespace llama
