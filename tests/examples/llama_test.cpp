// The example Llama: right numbers on the bundled model, and a reason for every model it cannot run.
#include "model_folder.hpp"

#include <attenta/catalog.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <numbers>
#include <string>

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using llama::Token;

const fs::path bundled = ATTENTA_MODEL;

const llama::Model& bundled_model() {
    static const llama::Model model(bundled);
    return model;
}

const attenta::TensorFile& reference() {
    static const attenta::TensorFile file = attenta::TensorFile::load(bundled / "reference.safetensors");
    return file;
}

std::vector<Token> reference_tokens() {
    const auto tokens = reference().tensors.at("tokens").as<std::int64_t>();
    return {tokens.begin(), tokens.end()};
}

Json bundled_config() { return Json::parse(std::ifstream(bundled / "config.json")); }

/// A copy of the bundled model, changed.
class Llama : public ModelFolder {
protected:
    Llama() {
        for (const char* file : {"config.json", "model.safetensors"}) {
            fs::copy_file(bundled / file, directory_ / file, fs::copy_options::overwrite_existing);
            fs::permissions(directory_ / file, fs::perms::owner_write, fs::perm_options::add);
        }
    }

    void write_config(const std::string& text) const { write("config.json", text); }

    void change_config(const std::string& field, const Json& value) const {
        Json config = bundled_config();
        config[field] = value;
        write_config(config.dump());
    }

    void change_weights(const std::function<void(std::map<std::string, attenta::Tensor>&)>& change) const {
        attenta::TensorFile file = attenta::TensorFile::load(bundled / "model.safetensors");
        change(file.tensors);
        file.save(directory_ / "model.safetensors");
    }
};

TEST(LlamaModel, LogitsAndAttentionEqualTheReference) {
    const std::vector<Token> tokens = reference_tokens();
    const auto n = static_cast<std::int64_t>(tokens.size());
    const llama::Model& model = bundled_model();
    attenta::KvCache cache = model.make_cache(n);
    const auto compare = [](std::int64_t layer, auto q, auto k, auto v, auto o) {
        if (layer != 1) return;
        for (const auto& [name, x] : {std::pair{"q", q}, {"k", k}, {"v", v}, {"o", o}}) {
            const attenta::Tensor& want = reference().tensors.at(std::string("layer1.") + name);
            const auto y = attenta::hnd(want.as<float>().data(), x.heads, x.tokens, x.dim);
            for (std::int64_t h = 0; h < x.heads; ++h)
                for (std::int64_t t = 0; t < x.tokens; ++t)
                    for (std::int64_t c = 0; c < x.dim; ++c)
                        ASSERT_NEAR(x.row(h, t)[c], y.row(h, t)[c], 1e-4) << name << " head " << h << " token " << t;
        }
    };
    const std::vector<float> logits = model.forward(tokens, cache, n, attenta::default_context(), compare);

    const std::int64_t vocab = model.config().vocab;
    const auto positions = reference().tensors.at("positions").as<std::int64_t>();
    const auto want = reference().tensors.at("logits").as<float>();
    for (std::size_t i = 0; i < positions.size(); ++i)
        for (std::int64_t c = 0; c < vocab; ++c)
            ASSERT_NEAR(logits[static_cast<std::size_t>(positions[i] * vocab + c)],
                        want[i * static_cast<std::size_t>(vocab) + static_cast<std::size_t>(c)], 5e-4)
                << "position " << positions[i];
}

TEST(LlamaModel, DecodingTokenByTokenEqualsPrefill) {
    const llama::Model& model = bundled_model();
    const std::vector<Token> tokens = reference_tokens();
    const std::span<const Token> text(tokens.data(), 96);
    attenta::KvCache whole = model.make_cache(96), pieces = model.make_cache(96);
    const std::vector<float> want = model.forward(text, whole, 40);

    std::vector<float> got;
    model.forward(text.first(56), pieces);
    for (std::size_t i = 56; i < 96; ++i) {
        const std::vector<float> row = model.forward(text.subspan(i, 1), pieces);
        got.insert(got.end(), row.begin(), row.end());
    }
    EXPECT_EQ(pieces.size(), 96);
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 2e-4) << i;
}

TEST(LlamaModel, ThreadsDoNotChangeABit) {
    const llama::Model& model = bundled_model();
    const std::vector<Token> tokens = reference_tokens();
    const std::span<const Token> text(tokens.data(), 200);
    attenta::KvCache one = model.make_cache(200), two = model.make_cache(200);
    attenta::ThreadPool pool(2);
    attenta::Context context(pool);
    EXPECT_EQ(model.forward(text, one, 200), model.forward(text, two, 200, context));
}

TEST(LlamaModel, TokensOutsideTheVocabularyAreRefusedBeforeTheCacheChanges) {
    attenta::KvCache cache = bundled_model().make_cache(4);
    const std::vector<Token> tokens{1, 256};
    EXPECT_THROW(bundled_model().forward(tokens, cache), attenta::Error);
    EXPECT_THROW(bundled_model().forward({}, cache), attenta::Error);
    EXPECT_EQ(cache.size(), 0);
}

TEST_F(Llama, UnchangedCopyIsAccepted) { EXPECT_EQ(refusal(), "accepted"); }

TEST_F(Llama, MissingOrDamagedFilesAreRefused) {
    write_config("{\"architectures\": [");
    EXPECT_TRUE(contains(refusal(), "config.json is not a JSON object"));
    fs::remove(directory_ / "config.json");
    EXPECT_TRUE(contains(refusal(), "cannot read"));
    write_config(bundled_config().dump());
    fs::resize_file(directory_ / "model.safetensors", 1000);
    EXPECT_TRUE(contains(refusal(), "model.safetensors"));
    fs::remove(directory_ / "model.safetensors");
    EXPECT_TRUE(contains(refusal(), "model.safetensors"));
}

TEST_F(Llama, ConfigurationsOfOtherModelsAreRefusedWithTheField) {
    const struct {
        const char *field, *value, *reason;
    } cases[] = {
        {"architectures", R"(["MixtralForCausalLM"])",
         R"(architectures is ["MixtralForCausalLM"], needs ["LlamaForCausalLM"], ["MistralForCausalLM"] or ["Qwen2ForCausalLM"])"},
        {"architectures", R"(["Qwen2ForCausalLM"])", R"(model_type is "llama", needs "qwen2")"},
        {"model_type", R"("gpt2")", R"(model_type is "gpt2", needs "llama")"},
        {"hidden_act", R"("gelu")", R"(hidden_act is "gelu", needs "silu")"},
        {"quantization_config", R"({"bits": 4})", "quantization_config is set"},
        {"num_hidden_layers", "null", "num_hidden_layers is missing"},
        {"num_hidden_layers", "-3", "num_hidden_layers is -3, needs a positive integer"},
        {"hidden_size", R"("wide")", R"(hidden_size is "wide", needs a positive integer)"},
        {"num_hidden_layers", "1000000000", "num_hidden_layers is 1000000000, needs at most 65536"},
        {"vocab_size", "1e300", "vocab_size is 1e+300, needs a positive integer"},
        {"num_key_value_heads", "3", "num_key_value_heads is 3, needs a divisor of num_attention_heads"},
        {"head_dim", "31", "head_dim is 31, needs an even number"},
        {"head_dim", "1000000000", "head_dim is 1000000000, needs an even number up to 65536"},
        {"partial_rotary_factor", "0.5", "partial_rotary_factor is 0.5, needs 1"},
        {"rms_norm_eps", "0", "rms_norm_eps is 0, needs a positive number"},
        {"tie_word_embeddings", "1", "tie_word_embeddings is 1, needs true or false"},
        {"rope_scaling", R"({"rope_type": "yarn", "factor": 4})",
         "rope scaling is yarn, needs default, linear or llama3"},
        {"rope_scaling", R"({"type": "linear"})", "rope_scaling.factor is missing"},
        {"rope_parameters", R"({"full_attention": {"rope_theta": 5}})", "needs the same parameters for all layers"},
        {"rope_scaling", "4", "rope_scaling is 4, needs an object"},
        {"eos_token_id", R"("end")", R"(eos_token_id is "end", needs token numbers)"},
    };
    for (const auto& c : cases) {
        change_config(c.field, Json::parse(c.value));
        const std::string reason = refusal();
        EXPECT_TRUE(contains(reason, "llama: config.json: ") && contains(reason, c.reason)) << reason;
    }
}

TEST_F(Llama, NumbersThatJsonCannotSayAreRefusedOnlyWhereTheyAreNeeded) {
    const std::string config = bundled_config().dump();
    const auto with = [&](const std::string& field) { return "{" + field + ", " + config.substr(1); };
    for (const char* field : {R"("unused": [0.0, Infinity, -Infinity])", R"("unused": NaN)",
                              R"("unused": "a \" quote, Infinity", "other": {"NaN": Infinity})"}) {
        write_config(with(field));
        EXPECT_EQ(refusal(), "accepted") << field;
    }
    for (const auto& [field, reason] :
         {std::pair{R"("rope_scaling": {"type": "linear", "factor": Infinity})", "rope_scaling.factor is \"Infinity\""},
          {R"("partial_rotary_factor": -Infinity)", "partial_rotary_factor is \"-Infinity\""}}) {
        write_config(with(field));
        EXPECT_TRUE(contains(refusal(), std::string("config.json: ") + reason));
    }
    write_config("{\"rms_norm_eps\": Infinity");
    EXPECT_TRUE(contains(refusal(), "config.json is not a JSON object"));
}

TEST_F(Llama, AConfigurationThatSaysAThingTwiceIsRefused) {
    write_config(R"({"model_type": "llama", "model_type": "mistral"})");
    EXPECT_TRUE(contains(refusal(), "config.json names \"model_type\" twice"));
    write_config("{\"architectures\": " + std::string(100'000, '['));
    EXPECT_TRUE(contains(refusal(), "config.json is nested too deeply"));
    Json config = bundled_config();
    config["rope_parameters"] = {{"rope_theta", 10000.0}};
    config["rope_scaling"] = {{"rope_theta", 500000.0}};
    write_config(config.dump());
    EXPECT_TRUE(contains(refusal(), "needs what rope_parameters says"));
}

TEST_F(Llama, MissingIllShapedAndIntegerWeightsAreRefusedByName) {
    const std::string name = "model.layers.1.self_attn.k_proj.weight";
    change_weights([&](auto& tensors) { tensors.erase(name); });
    EXPECT_EQ(refusal(), "llama: weight " + name + " is missing");
    change_weights([&](auto& tensors) { tensors[name] = attenta::Tensor::zeros(attenta::TensorType::f32, {64, 190}); });
    EXPECT_EQ(refusal(), "llama: weight " + name + " is [64, 190], needs [64, 192]");
    change_weights([&](auto& tensors) { tensors[name] = attenta::Tensor::zeros(attenta::TensorType::u8, {64, 192}); });
    EXPECT_EQ(refusal(), "llama: weight " + name + " is U8, needs F32, F16 or BF16");
}

TEST_F(Llama, AConfigurationThatContradictsTheWeightsIsRefused) {
    change_config("num_hidden_layers", 4);
    EXPECT_EQ(refusal(), "llama: weight model.layers.3.input_layernorm.weight is missing");
    change_config("tie_word_embeddings", false);
    EXPECT_EQ(refusal(), "llama: weight lm_head.weight is missing");
    change_config("attention_bias", true);
    EXPECT_EQ(refusal(), "llama: weight model.layers.0.self_attn.q_proj.bias is missing");
    change_config("head_dim", nullptr);  // 192 / 4
    EXPECT_EQ(refusal(), "llama: weight model.layers.0.self_attn.q_proj.weight is [128, 192], needs [192, 192]");
}

TEST_F(Llama, ASeparateHeadAndZeroBiasesGiveTheSameLogits) {
    Json config = bundled_config();
    config["tie_word_embeddings"] = false;
    config["attention_bias"] = config["mlp_bias"] = true;
    write_config(config.dump());
    change_weights([](auto& tensors) {
        using enum attenta::TensorType;
        tensors["lm_head.weight"] = tensors.at("model.embed_tokens.weight");
        for (const char* layer : {"model.layers.0.", "model.layers.1.", "model.layers.2."}) {
            for (const auto& [name, size] : {std::pair{"self_attn.q_proj", 128},
                                             {"self_attn.k_proj", 64},
                                             {"self_attn.v_proj", 64},
                                             {"self_attn.o_proj", 192},
                                             {"mlp.gate_proj", 512},
                                             {"mlp.up_proj", 512},
                                             {"mlp.down_proj", 192}})
                tensors[std::string(layer) + name + ".bias"] = attenta::Tensor::zeros(bf16, {size});
        }
    });
    const llama::Model changed(directory_);
    const std::vector<Token> tokens{'d', 'e', 'f'};
    attenta::KvCache a = changed.make_cache(3), b = bundled_model().make_cache(3);
    EXPECT_EQ(changed.forward(tokens, a), bundled_model().forward(tokens, b));
}

TEST_F(Llama, RotaryScalingStretchesTheLongWaves) {
    const auto frequencies = [&](const Json& scaling) {
        change_config("rope_scaling", scaling);
        return llama::Config::load(directory_ / "config.json").frequencies;
    };
    const auto plain = frequencies(nullptr), linear = frequencies({{"type", "linear"}, {"factor", 4}});
    const auto llama3 = frequencies({{"rope_type", "llama3"},
                                     {"factor", 8},
                                     {"low_freq_factor", 1},
                                     {"high_freq_factor", 4},
                                     {"original_max_position_embeddings", 512}});
    ASSERT_EQ(plain.size(), 16U);
    for (std::size_t c = 0; c < 16; ++c) {
        EXPECT_DOUBLE_EQ(plain[c], std::pow(10000.0, -static_cast<double>(c) / 16));
        EXPECT_DOUBLE_EQ(linear[c], plain[c] / 4);
        const double wave = 2 * std::numbers::pi / plain[c];
        const double kept = wave < 128 ? 1 : wave > 512 ? 0 : (512 / wave - 1) / 3;
        EXPECT_NEAR(llama3[c], plain[c] * (kept + (1 - kept) / 8), 1e-12);
    }
}

TEST_F(Llama, TheOriginalContextStandsBesideTheScalingOutsideItOrIsTheWhole) {
    const Json scaling{
        {"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}, {"high_freq_factor", 4}, {"rope_theta", 1e4}};
    const char* original = "original_max_position_embeddings";
    const auto frequencies = [&](const char* object, std::optional<int> inside, std::optional<int> outside) {
        Json config = bundled_config();
        config.erase("rope_theta");
        config[object] = scaling;
        if (inside) config[object][original] = *inside;
        if (outside) config[original] = *outside;
        write_config(config.dump());
        return llama::Config::load(directory_ / "config.json").frequencies;
    };
    const auto at_512 = frequencies("rope_scaling", 512, {}), at_1024 = frequencies("rope_scaling", 1024, {});
    EXPECT_NE(at_512, at_1024);
    for (const char* object : {"rope_scaling", "rope_parameters"}) {
        EXPECT_EQ(frequencies(object, 512, {}), at_512);
        EXPECT_EQ(frequencies(object, {}, 512), at_512);
        EXPECT_EQ(frequencies(object, 512, 512), at_512);
        EXPECT_EQ(frequencies(object, {}, {}), at_1024);  // max_position_embeddings
        EXPECT_THROW(frequencies(object, 512, 1024), attenta::Error);
    }
}

/// ATTENTA_GENERATE: the program's path.
std::string generate(const std::string& arguments) {
    std::string text;
    FILE* pipe = ::popen(("'" ATTENTA_GENERATE "' " + arguments + " 2>&1").c_str(), "r");
    char buffer[4096];
    while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) text.append(buffer, n);
    ::pclose(pipe);
    return text;
}

TEST(Generate, HelpAndRefusalsAreText) {
    for (const char* arguments : {"--help", "--kv f64"}) {
        const std::string text = generate(arguments);
        EXPECT_TRUE(contains(text, "bf16"));
        EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); }))
            << text;
    }
    EXPECT_TRUE(contains(generate("--tokens 4 --kv bf16"), "get kavo=4821\n"));
    EXPECT_TRUE(contains(generate("--tokens 4 --kv int4"), "get kavo=4821\n"));
    EXPECT_TRUE(contains(generate("--tokens 4 --policy snapkv --budget 128"), "holds 128 tokens"));
    EXPECT_TRUE(contains(generate("--policy h2o --budget 0"), "--budget"));
}

}  // namespace
