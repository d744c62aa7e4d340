// Which weights and which windows count: tiny models of all families against their definition, files that disagree.
#include "model_folder.hpp"
#include "tiny_llama.hpp"

#include <functional>

namespace {

using attenta::Tensor;
using attenta::TensorFile;
using attenta::TensorType;
using llama::Token;
using Json = nlohmann::json;

constexpr std::int64_t all = 1000;
const std::vector<std::int64_t> no_windows(TinyLlama::layers, all);

class TinyLlamaTest : public ModelFolder {
protected:
    void save_weights(const attenta::Tensors& tensors, const std::string& file = "model.safetensors") const {
        TensorFile out;
        out.tensors = tensors;
        out.save(directory_ / file);
    }

    void save() const {
        write("config.json", tiny_.config.dump());
        save_weights(tiny_.weights);
    }

    /// Two shards and their index; layer 2 stands in the second.
    void save_shards() {
        attenta::Tensors first, second;
        for (const auto& [name, tensor] : tiny_.weights) {
            const bool moved = name.find("layers.2.") != std::string::npos;
            (moved ? second : first)[name] = tensor;
            index_["weight_map"][name] = moved ? "b.safetensors" : "a.safetensors";
        }
        write("config.json", tiny_.config.dump());
        save_weights(first, "a.safetensors");
        save_weights(second, "b.safetensors");
        save_index();
    }
    void save_index() const { write("model.safetensors.index.json", index_.dump()); }

    void change_shard(const std::string& file, const std::function<void(attenta::Tensors&)>& change) const {
        attenta::Tensors tensors = TensorFile::load(directory_ / file).tensors;
        change(tensors);
        save_weights(tensors, file);
    }

    /// The saved model's logits are those of the definition, in one call and token by token.
    void expect_definition(const std::vector<std::int64_t>& windows = no_windows) const {
        const llama::Model model(directory_);
        const auto n = static_cast<std::int64_t>(tokens_.size());
        const NaiveLlama::Rows want = NaiveLlama::logits(tiny_, tokens_, windows);
        attenta::KvCache prefill = model.make_cache(n), decode = model.make_cache(n);
        const std::vector<float> got = model.forward(tokens_, prefill, n);
        for (std::size_t i = 0; i < tokens_.size(); ++i) {
            const std::vector<float> row = model.forward(std::span(tokens_).subspan(i, 1), decode);
            for (std::size_t c = 0; c < row.size(); ++c) {
                ASSERT_NEAR(got[i * row.size() + c], want[i][c], 1e-4) << "token " << i;
                ASSERT_NEAR(row[c], want[i][c], 1e-4) << "token " << i;
            }
        }
    }

    TinyLlama tiny_;
    Json index_;
    const std::vector<Token> tokens_{3, 17, 5, 9, 22, 31, 8, 8, 0, 39, 12, 4};
};

using TinyFamilies = TinyLlamaTest;

TEST_F(TinyFamilies, ALlamaIsItsDefinition) {
    save();
    expect_definition();
}

TEST_F(TinyFamilies, AMistralSlidesInEveryLayer) {
    tiny_.config.update({{"architectures", {"MistralForCausalLM"}}, {"model_type", "mistral"}, {"sliding_window", 4}});
    save();
    expect_definition({4, 4, 4});
    tiny_.config["sliding_window"] = 1;
    save();
    expect_definition({1, 1, 1});
    tiny_.config["sliding_window"] = nullptr;
    save();
    expect_definition();
    tiny_.config.erase("sliding_window");
    save();
    EXPECT_EQ(llama::Config::load(directory_ / "config.json").window_left, std::vector<std::int64_t>(3, 4095));
    expect_definition();
}

TEST_F(TinyFamilies, AQwen2HasBiasesAndSlidesInItsUpperLayersOnRequest) {
    tiny_.config.update({{"architectures", {"Qwen2ForCausalLM"}},
                         {"model_type", "qwen2"},
                         {"sliding_window", 4},
                         {"max_window_layers", 1},
                         {"attention_bias", false}});  // a Qwen2 does not know this field
    for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}) tiny_.add_bias(name);
    save();
    expect_definition();  // use_sliding_window is false by default
    tiny_.config["use_sliding_window"] = true;
    save();
    expect_definition({all, 4, 4});
    tiny_.config["max_window_layers"] = 0;
    save();
    expect_definition({4, 4, 4});
    tiny_.config["max_window_layers"] = nullptr;  // 28
    save();
    expect_definition();

    tiny_.weights.erase("model.layers.1.self_attn.k_proj.bias");
    save();
    EXPECT_EQ(refusal(), "llama: weight model.layers.1.self_attn.k_proj.bias is missing");
}

TEST_F(TinyFamilies, LayerTypesDecideWhichLayersSlide) {
    tiny_.config.update({{"architectures", {"Qwen2ForCausalLM"}},
                         {"model_type", "qwen2"},
                         {"use_sliding_window", true},
                         {"sliding_window", 3},
                         {"max_window_layers", 3},
                         {"layer_types", {"sliding_attention", "full_attention", "sliding_attention"}}});
    for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}) tiny_.add_bias(name);
    save();
    expect_definition({3, all, 3});
    tiny_.config["use_sliding_window"] = false;
    save();
    EXPECT_TRUE(contains(refusal(), "needs a sliding_window for its sliding_attention"));
    tiny_.config["layer_types"] = {"full_attention", "chunked_attention", "full_attention"};
    save();
    EXPECT_TRUE(contains(refusal(), "needs full_attention and sliding_attention alone"));
    tiny_.config["layer_types"] = {"full_attention"};
    save();
    EXPECT_TRUE(contains(refusal(), "layer_types is [\"full_attention\"], needs a name for each of 3 layers"));
}

TEST_F(TinyFamilies, ALlamaWithAWindowIsRefused) {
    tiny_.config["sliding_window"] = 4;
    save();
    EXPECT_TRUE(contains(refusal(), "sliding_window is 4, needs null: a LlamaForCausalLM has no window"));
    tiny_.config["use_sliding_window"] = false;
    save();
    expect_definition();
}

TEST_F(TinyFamilies, ModelTypeAloneNamesTheFamily) {
    tiny_.config["architectures"] = nullptr;
    tiny_.config.update({{"model_type", "mistral"}, {"sliding_window", 5}});
    save();
    expect_definition({5, 5, 5});
}

using TinyBiases = TinyLlamaTest;

TEST_F(TinyBiases, BiasesInTheFileCountWhateverTheFieldIsCalled) {
    for (const auto& projection : TinyLlama::projections) tiny_.add_bias(projection.name);
    const Json plain = tiny_.config;
    for (const Json& field :
         {Json{{"attention_bias", true}, {"mlp_bias", true}}, Json{{"bias", true}}, Json::object()}) {
        tiny_.config = plain;
        tiny_.config.update(field);
        save();
        expect_definition();
    }
}

TEST_F(TinyBiases, EachProjectionMayHaveOne) {
    for (const auto& projection : TinyLlama::projections) {
        tiny_ = TinyLlama();
        tiny_.add_bias(projection.name);
        save();
        expect_definition();
    }
}

TEST_F(TinyBiases, ThoseThatTheConfigurationDeniesAreRefusedByName) {
    tiny_.add_bias("self_attn.q_proj");
    for (const char* field : {"attention_bias", "bias"}) {
        tiny_.config.erase("attention_bias");
        tiny_.config[field] = false;
        save();
        EXPECT_EQ(refusal(),
                  "llama: weight model.layers.0.self_attn.q_proj.bias of model.safetensors belongs to the "
                  "model, but nothing here uses it");
    }
    tiny_ = TinyLlama();
    tiny_.add_bias("mlp.down_proj");
    tiny_.config["mlp_bias"] = false;
    save();
    EXPECT_TRUE(contains(refusal(), "weight model.layers.0.mlp.down_proj.bias of model.safetensors belongs"));
}

TEST_F(TinyBiases, ALayerWithoutTheBiasOfTheOthersIsRefused) {
    tiny_.add_bias("self_attn.v_proj");
    const attenta::Tensors complete = tiny_.weights;
    tiny_.weights.erase("model.layers.1.self_attn.v_proj.bias");
    save();
    EXPECT_EQ(refusal(), "llama: weight model.layers.1.self_attn.v_proj.bias is missing");
    tiny_.weights = complete;
    tiny_.weights.erase("model.layers.0.self_attn.v_proj.bias");
    save();
    EXPECT_TRUE(contains(refusal(), "weight model.layers.1.self_attn.v_proj.bias of model.safetensors belongs"));
    tiny_.weights = complete;
    tiny_.config["bias"] = true;
    save();
    EXPECT_EQ(refusal(), "llama: weight model.layers.0.self_attn.q_proj.bias is missing");
}

using TinyLeftovers = TinyLlamaTest;

TEST_F(TinyLeftovers, WeightsThatWouldChangeTheModelAreRefusedByName) {
    for (const char* name : {"model.layers.0.self_attn.q_norm.weight", "model.layers.1.self_attn.k_proj.k_scale",
                             "model.layers.3.input_layernorm.weight", "lm_head.bias", "model.norm.bias",
                             "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"}) {
        tiny_ = TinyLlama();
        tiny_.add(name, {4});
        save();
        EXPECT_EQ(refusal(), "llama: weight " + std::string(name) +
                                 " of model.safetensors belongs to the model, but nothing here uses it");
    }
}

TEST_F(TinyLeftovers, RotaryBuffersAndWhatIsNotOfTheModelAreLeftAlone) {
    tiny_.add("model.layers.0.self_attn.rotary_emb.inv_freq", {3});
    tiny_.add("model.rotary_emb.inv_freq", {3});
    tiny_.add("extra.not_needed", {2});
    save();
    expect_definition();
}

TEST_F(TinyLeftovers, ATiedHeadIsTheEmbeddingOrRefused) {
    tiny_.config["tie_word_embeddings"] = true;
    save();
    EXPECT_EQ(refusal(),
              "llama: weight lm_head.weight is not model.embed_tokens.weight, to which tie_word_embeddings "
              "ties it");
    tiny_.weights["lm_head.weight"] = tiny_.weights.at("model.embed_tokens.weight");
    save();
    expect_definition();
    attenta::Tensors without = tiny_.weights;
    without.erase("lm_head.weight");
    save_weights(without);
    expect_definition();
}

TEST_F(TinyLeftovers, TypesOfTheFormatThatNobodyNeedsAreLeftAlone) {
    using enum TensorType;
    for (const TensorType type : {i8, i16, u64, c64, f8_e4m3, f8_e5m2, f6_e2m3, f4}) {
        tiny_.weights["extra.not_needed"] = Tensor::zeros(type, {4});
        save();
        expect_definition();
    }
    tiny_.weights["model.norm.weight"] = Tensor::zeros(f8_e4m3, {16});
    save();
    EXPECT_EQ(refusal(), "llama: weight model.norm.weight is F8_E4M3, needs F32, F16 or BF16");
}

using TinyShards = TinyLlamaTest;

TEST_F(TinyShards, TheIndexDecidesWhichCopyOfAWeightCounts) {
    save_shards();
    expect_definition();
    const std::string stale = "model.layers.2.mlp.down_proj.weight", other = "model.layers.0.mlp.down_proj.weight";
    change_shard("a.safetensors", [&](auto& t) { t[stale] = Tensor::zeros(TensorType::f32, {16, 24}); });
    change_shard("b.safetensors", [&](auto& t) { t[other] = Tensor::zeros(TensorType::i8, {1}); });
    expect_definition();
}

TEST_F(TinyShards, FilesThatTheIndexDoesNotNameAreNotRead) {
    save_shards();
    write("model.safetensors", "damaged");
    write("c.safetensors", "damaged");
    expect_definition();
}

TEST_F(TinyShards, AnIndexAndShardsThatDisagreeAreRefused) {
    const std::string name = "model.layers.2.mlp.up_proj.weight", extra = "model.layers.0.self_attn.q_proj.bias";
    save_shards();
    const Json sound = index_;
    const auto refused_with = [&](const std::string& weight, const Json& file) {
        index_ = sound;
        index_["weight_map"][weight] = file;
        save_index();
        return refusal();
    };
    EXPECT_EQ(refused_with(name, "a.safetensors"),
              "llama: weight " + name + " is missing in a.safetensors, where the index places it");
    EXPECT_EQ(refused_with("unneeded", "a.safetensors"),
              "llama: weight unneeded is missing in a.safetensors, where the index places it");
    EXPECT_TRUE(contains(refused_with(name, "c.safetensors"), "c.safetensors: no such file"));
    EXPECT_TRUE(contains(refused_with(name, "../b.safetensors"), "the file of " + name + " is \"../b.safetensors\""));
    EXPECT_TRUE(contains(refused_with(name, 2), "the file of " + name + " is 2"));

    index_ = sound;
    index_["weight_map"].erase(name);
    save_index();
    EXPECT_EQ(refusal(), "llama: weight " + name + " stands in b.safetensors, but the index does not name it");
    index_ = sound;
    save_index();
    change_shard("a.safetensors", [&](auto& t) { t[extra] = Tensor::zeros(TensorType::f32, {24}); });
    EXPECT_TRUE(contains(refusal(), extra));
}

TEST_F(TinyShards, AnIndexThatIsNoneIsRefused) {
    save_shards();
    const std::string file = "model.safetensors.index.json";
    write(file, "{}");
    EXPECT_EQ(refusal(), "llama: " + file + ": weight_map is missing");
    write(file, R"({"weight_map": []})");
    EXPECT_EQ(refusal(), "llama: " + file + ": weight_map is [], needs an object");
    write(file, "{");
    EXPECT_TRUE(contains(refusal(), file + " is not a JSON object"));
    write(file, R"({"weight_map": {"x": "a.safetensors", "x": "b.safetensors"}})");
    EXPECT_TRUE(contains(refusal(), file + " names \"x\" twice"));
}

}  // namespace
