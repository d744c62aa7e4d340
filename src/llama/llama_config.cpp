// Reading config.json: what the usual library makes of the same fields, and the reasons to refuse.
#include "llama.hpp"
#include "llama_json.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numbers>

namespace llama {
namespace {

/// Architectures that are one and the same but for their defaults, biases and windows.
struct Family {
    enum class Windows { none, all_layers, upper_layers };

    const char *architecture, *model_type;
    std::int64_t max_positions;
    bool qkv_bias;  ///< Q, K and V always have one, whatever the configuration says
    Windows windows;
};
constexpr Family families[] = {{"LlamaForCausalLM", "llama", 2048, false, Family::Windows::none},
                               {"MistralForCausalLM", "mistral", 131072, false, Family::Windows::all_layers},
                               {"Qwen2ForCausalLM", "qwen2", 32768, true, Family::Windows::upper_layers}};

constexpr std::int64_t most_layers = 1 << 16, widest_head = 1 << 16;

/// What both `architectures` and `model_type`, where they are given, say.
const Family& family_of(const Fields& f) {
    if (!f.has("architectures") && !f.has("model_type"))
        refuse("config.json names neither architectures nor model_type");
    const bool by_architecture = f.has("architectures");
    const auto found = std::find_if(std::begin(families), std::end(families), [&](const Family& family) {
        return by_architecture ? f.at("architectures") == Json::array({family.architecture})
                               : f.at("model_type") == family.model_type;
    });
    if (found == std::end(families)) {
        if (!by_architecture) f.ill("model_type", "\"llama\", \"mistral\" or \"qwen2\"");
        f.ill("architectures", R"(["LlamaForCausalLM"], ["MistralForCausalLM"] or ["Qwen2ForCausalLM"])");
    }
    if (f.text("model_type", found->model_type) != found->model_type)
        f.ill("model_type", "\"" + std::string(found->model_type) + "\"");
    return *found;
}

void require_plain(const Fields& f) {
    if (f.text("hidden_act", "silu") != "silu") f.ill("hidden_act", "\"silu\"");
    if (f.has("quantization_config"))
        refuse("config.json: quantization_config is set, needs plain F32, F16 or BF16 weights");
}

/// The rotary parameters, which stand under a newer or an older name; both are taken where they say the same.
Fields rope_of(const Fields& f) {
    const bool newer = f.has("rope_parameters"), older = f.has("rope_scaling");
    if (newer && older && f.at("rope_parameters") != f.at("rope_scaling"))
        f.ill("rope_scaling", "what rope_parameters says, or null");
    const char* name = newer ? "rope_parameters" : "rope_scaling";
    const Fields rope = f.object(name);
    for (const Json& value : rope.json())
        if (value.is_object()) f.ill(name, "the same parameters for all layers");
    for (const Fields* fields : {&f, &rope})
        if (fields->positive("partial_rotary_factor", 1) != 1) fields->ill("partial_rotary_factor", "1");
    return rope;
}

/// The context that the model was trained on before it was stretched: beside the other parameters or in the
/// configuration, and without either the whole context.
double original_context(const Fields& f, const Fields& rope, std::int64_t max_positions) {
    constexpr const char* name = "original_max_position_embeddings";
    const double beside = f.positive(name, static_cast<double>(max_positions)), original = rope.positive(name, beside);
    if (f.has(name) && original != beside) rope.ill(name, "what config.json says outside, " + f.at(name).dump());
    return original;
}

/// Llama 3: long waves are stretched by `factor`, short ones left alone, those between interpolated.
double stretched(double frequency, const Fields& rope, double context) {
    const double factor = rope.positive("factor"), low = rope.positive("low_freq_factor"),
                 high = rope.positive("high_freq_factor");
    const double turns = context * frequency / (2 * std::numbers::pi);
    if (high <= low) rope.ill("high_freq_factor", "more than low_freq_factor");
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    return frequency * (kept + (1 - kept) / factor);
}

std::vector<double> rotary_frequencies(const Fields& f, const Config& c) {
    const Fields rope = rope_of(f);
    const double theta = rope.positive("rope_theta", f.positive("rope_theta", 10000));
    const std::string type = rope.text("rope_type", rope.text("type", "default"));
    std::vector<double> frequencies;
    for (std::int64_t i = 0; i < c.head_dim / 2; ++i) {
        double frequency = std::pow(theta, -2 * static_cast<double>(i) / static_cast<double>(c.head_dim));
        if (type == "linear")
            frequency /= rope.positive("factor");
        else if (type == "llama3")
            frequency = stretched(frequency, rope, original_context(f, rope, c.max_positions));
        else if (type != "default")
            refuse("config.json: rope scaling is " + type + ", needs default, linear or llama3");
        frequencies.push_back(frequency);
    }
    return frequencies;
}

/// Keys that a query sees where a layer slides, its own counted; empty: no layer slides.
std::optional<std::int64_t> sliding_window(const Fields& f, const Family& family) {
    using enum Family::Windows;
    const std::optional<bool> use = f.flag("use_sliding_window");
    if (family.windows == none && f.has("sliding_window") && use.value_or(true))
        f.ill("sliding_window", "null: a " + std::string(family.architecture) + " has no window");
    if (family.windows == none || !use.value_or(family.windows == all_layers)) return {};
    if (f.names("sliding_window") && !f.has("sliding_window")) return {};  // null: none, absent: the default
    return f.size("sliding_window", 4096);
}

/// Layer by layer, what `window_left` of attention is. Layers slide as layer_types says; without it, all of a Mistral
/// and those of a Qwen2 from max_window_layers on.
std::vector<std::int64_t> read_windows(const Fields& f, const Family& family, std::int64_t layers) {
    const std::optional<std::int64_t> window = sliding_window(f, family);
    const Json types = f.has("layer_types") ? f.at("layer_types") : Json();
    if (!types.is_null() && (!types.is_array() || types.size() != static_cast<std::size_t>(layers)))
        f.ill("layer_types", "a name for each of " + std::to_string(layers) + " layers");
    const std::int64_t first =
        family.windows == Family::Windows::upper_layers ? f.size("max_window_layers", 28, /*least=*/0) : 0;

    std::vector<std::int64_t> windows;
    for (std::int64_t l = 0; l < layers; ++l) {
        bool slides = window && l >= first;
        if (!types.is_null()) {
            const Json& type = types[static_cast<std::size_t>(l)];
            slides = type == "sliding_attention";
            if (!slides && type != "full_attention") f.ill("layer_types", "full_attention and sliding_attention alone");
            if (slides && !window) f.ill("layer_types", "a sliding_window for its sliding_attention");
        }
        windows.push_back(slides ? *window - 1 : -1);
    }
    return windows;
}

/// What is said of biases. InternLM's older name of attention_bias is `bias`.
Biases read_biases(const Fields& f, const Family& family) {
    const std::optional<bool> older = f.flag("bias"), newer = f.flag("attention_bias"), mlp = f.flag("mlp_bias");
    if (family.qkv_bias) return {.qkv = true, .o = {}, .mlp = mlp};
    const std::optional<bool> attention = newer ? newer : older;
    return {.qkv = attention, .o = attention, .mlp = mlp};
}

std::vector<Token> read_end_tokens(const Fields& f) {
    if (!f.has("eos_token_id")) return {};
    const Json& ids = f.at("eos_token_id");
    const auto is_token = [](const Json& id) {
        using Limits = std::numeric_limits<Token>;
        return id.is_number_integer() && id >= Limits::min() && id <= Limits::max();
    };
    if (is_token(ids)) return {ids.get<Token>()};
    if (!ids.is_array() || !std::all_of(ids.begin(), ids.end(), is_token)) f.ill("eos_token_id", "token numbers");
    return ids.get<std::vector<Token>>();
}

}  // namespace

Config Config::load(const std::filesystem::path& path) {
    const Fields f = Fields::load(path);
    const Family& family = family_of(f);
    require_plain(f);

    Config c;
    c.layers = f.size("num_hidden_layers", {}, 1, most_layers);
    c.hidden = f.size("hidden_size");
    c.intermediate = f.size("intermediate_size");
    c.vocab = f.size("vocab_size");
    c.heads = f.size("num_attention_heads");
    c.kv_heads = f.size("num_key_value_heads", c.heads);
    c.max_positions = f.size("max_position_embeddings", family.max_positions);
    if (c.heads % c.kv_heads != 0) f.ill("num_key_value_heads", "a divisor of num_attention_heads");
    if (!f.has("head_dim") && c.hidden % c.heads != 0) f.ill("hidden_size", "a multiple of num_attention_heads");
    c.head_dim = f.size("head_dim", c.hidden / c.heads);
    if (c.head_dim % 2 != 0 || c.head_dim > widest_head)
        refuse("config.json: head_dim is " + std::to_string(c.head_dim) + ", needs an even number up to " +
               std::to_string(widest_head));
    c.rms_eps = static_cast<float>(f.positive("rms_norm_eps", 1e-6));
    c.frequencies = rotary_frequencies(f, c);
    c.window_left = read_windows(f, family, c.layers);
    c.tied = f.flag("tie_word_embeddings").value_or(false);
    c.biases = read_biases(f, family);
    c.end_tokens = read_end_tokens(f);
    return c;
}

}  // namespace llama
