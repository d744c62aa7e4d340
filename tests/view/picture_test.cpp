// Pictures of cases and of prompts equal attention in double precision.
#include "view.hpp"

#include "llama.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "support/catalog.hpp"
#include "support/random.hpp"
#include "view/support/naive_head.hpp"

namespace {

using namespace attenta_test;
using namespace view_test;
using attenta::Heads;
using attenta::TensorFile;
using attenta::TensorType;
using view::Picture;
using view::Settings;

class ViewCaseTest : public CatalogTest {};
class ViewModelTest : public testing::Test {};

Heads<const float> heads_of(const TensorFile& file, const char* name) {
    const attenta::Tensor& t = file.tensors.at(name);
    return attenta::hnd(t.as<float>().data(), t.shape[0], t.shape[1], t.shape[2]);
}

double usual_scale(const Heads<const float>& q) { return 1 / std::sqrt(static_cast<double>(q.dim)); }

attenta::Tensor normals(std::vector<std::int64_t> shape, std::uint64_t seed = 1) {
    std::int64_t size = 1;
    for (const std::int64_t n : shape) size *= n;
    return tensor(TensorType::f32, std::move(shape), Random(seed).normals(size));
}

TEST_F(ViewCaseTest, ShowsTheWeightsOfCausalGroupedHeads) {
    TensorFile file;
    file.tensors = {{"q", normals({6, 13, 10}, 1)}, {"k", normals({2, 40, 10}, 2)}};
    const auto path = this->file("x.safetensors");
    file.save(path);
    for (const std::int64_t most : {0, 7}) {
        const Picture p = view::of_case(path, {{"causal", "true"}, {"scale", "0.4"}}, {.most_tiles = most});
        EXPECT_EQ(p.title, "x");
        EXPECT_EQ(p.grid.exact(), most == 0);
        EXPECT_EQ(p.first_position, 27);
        ASSERT_EQ(p.heads.size(), 6u);
        for (std::int64_t h = 0; h < 6; ++h)
            expect_head(p.heads[static_cast<std::size_t>(h)], p.grid, 27,
                        naive_softmax(heads_of(file, "q"), heads_of(file, "k"), h, 0.4,
                                      [](std::int64_t i, std::int64_t j) { return j <= i + 27; }),
                        1e-5);
    }
}

TEST_F(ViewCaseTest, TakesTheParametersOfTheCase) {
    const auto path = golden_path("softmax", "softmax", "mha_cross");
    const TensorFile file = TensorFile::load(path);
    const Picture p = view::of_case(path, {}, {});
    EXPECT_EQ(p.title, "softmax/softmax/mha_cross");
    EXPECT_EQ(p.note, "");
    const auto q = heads_of(file, "in.q"), k = heads_of(file, "in.k");
    for (std::int64_t h = 0; h < q.heads; ++h)
        expect_head(p.heads[static_cast<std::size_t>(h)], p.grid, k.tokens - q.tokens,
                    naive_softmax(q, k, h, usual_scale(q), [](std::int64_t, std::int64_t) { return true; }), 1e-5);
}

TEST_F(ViewCaseTest, SaysWhatTheCatalogDoesNotHave) {
    TensorFile file;
    file.tensors = {{"in.q", normals({2, 3, 4}, 1)}, {"in.k", normals({2, 3, 4}, 2)}};
    file.metadata = {{"family", "softmax"}, {"mechanism", "of_tomorrow"}, {"params", "{}"}};
    const auto path = this->file("x.safetensors");
    file.save(path);
    EXPECT_NE(view::of_case(path, {}, {}).note.find("The catalog has no softmax/of_tomorrow."), std::string::npos);
}

TEST_F(ViewCaseTest, EvictionPoliciesHaveTokensBeforeHeads) {
    EXPECT_EQ(view::of_case(golden_path("kv", "h2o", "gqa"), {}, {}).heads_per_layer, 4);
    EXPECT_EQ(view::of_case(golden_path("kv", "kv_quant", "bf16"), {}, {}).heads_per_layer, 4);
    const Picture p =
        view::of_case(golden_path("kv", "h2o", "gqa"), {}, {.policies = {"h2o"}, .budget = 18, .prefill = 39});
    ASSERT_EQ(p.overlays.size(), 1u);
    EXPECT_EQ(p.overlays[0].detail, "eviction, budget 18 tokens per K/V head, the first 39 read at once");
    for (const view::Head& head : p.heads) {
        EXPECT_GT(head.kept.at(0).mass, 0.5);
        EXPECT_LT(head.kept.at(0).mass, 1);
    }
}

TEST_F(ViewCaseTest, ASelectionLiesOverItsOwnCase) {
    const Picture p =
        view::of_case(golden_path("sparse", "quest", "several_queries"), {}, {.selections = {"quest:page_size=8"}});
    ASSERT_EQ(p.overlays.size(), 2u);
    EXPECT_EQ(p.overlays[0].name, "quest");
    EXPECT_EQ(p.overlays[0].detail, "selection, page_size 5, top_pages 4, include_last true");
    EXPECT_EQ(p.overlays[1].detail, "selection, page_size 8");
    EXPECT_NE(p.note.find("sparse/quest reads fewer keys"), std::string::npos);
}

TEST_F(ViewCaseTest, ShowsGivenWeightsLayerByLayer) {
    const auto path = golden_path("analysis", "head_distance", "text");
    const attenta::Tensor attn = TensorFile::load(path).tensors.at("in.attn");
    const Picture p = view::of_case(path, {}, {.layers = {2, 0}});
    EXPECT_EQ(p.layers, (std::vector<std::int64_t>{0, 2}));
    const std::int64_t heads = attn.shape[1], queries = attn.shape[2], keys = attn.shape[3];
    ASSERT_EQ(std::ssize(p.heads), 2 * heads);
    for (std::int64_t n = 0; n < 2 * heads; ++n) {
        const std::int64_t layer = n < heads ? 0 : 2;
        const float* a = attn.as<float>().data() + (layer * heads + n % heads) * queries * keys;
        EXPECT_EQ(p.heads[static_cast<std::size_t>(n)].layer, layer);
        expect_head(p.heads[static_cast<std::size_t>(n)], p.grid, keys - queries,
                    {queries, keys, std::vector<double>(a, a + queries * keys)}, 1e-7);
    }
}

TEST_F(ViewCaseTest, ManyHeadsMakeASmallPage) {
    TensorFile file;
    file.tensors = {{"attn", normals({32, 32, 48, 48})}};
    const auto path = this->file("many.safetensors");
    file.save(path);
    const Picture p = view::of_case(path, {}, {});
    EXPECT_FALSE(p.grid.exact());
    EXPECT_LT(view::page_of(p).size(), 5u << 20);
}

TEST_F(ViewCaseTest, RefusesWhatIsNoPicture) {
    const auto message = [&](attenta::Tensors tensors, const Settings& settings = {}) {
        TensorFile made;
        made.tensors = std::move(tensors);
        made.save(this->file("x.safetensors"));
        const std::string text = message_of([&] { view::of_case(this->file("x.safetensors"), {}, settings); });
        return text.substr(0, text.find(this->file("x.safetensors").string())) +
               (text.find("has nothing") == std::string::npos ? "" : "FILE " + text.substr(text.find("has nothing")));
    };
    const attenta::Tensor q = normals({2, 5, 4}), k = normals({1, 9, 4});
    EXPECT_EQ(message({{"x", q}}), "view: FILE has nothing to view, needs the tensors in.q and in.k, or in.attn");
    EXPECT_EQ(message({{"q", normals({5, 4})}, {"k", k}}), "view: input 'q' has 2 sizes, needs 3, or 4 with layers");
    EXPECT_EQ(message({{"q", attenta::Tensor::zeros(TensorType::f32, {2, 0, 4})}, {"k", k}}),
              "view: input 'q' has no numbers, needs sizes of at least 1");
    EXPECT_EQ(message({{"q", q}, {"k", normals({3, 1, 9, 4})}}), "view: k has 3 layers, q has 1");
    EXPECT_EQ(message({{"q", q}, {"k", k}}, {.layers = {1}}), "view: there is no layer 1, there are 0 to 0");
    EXPECT_EQ(message({{"q", q}, {"k", k}}, {.most_tiles = 5000}), "view: pool is 5000, needs 1 to 4096");
    EXPECT_EQ(message({{"q", q}, {"k", k}}, {.memory = 1000}),
              "view: attention of 5 queries and 9 keys takes 1 MiB of memory, there are 1 MiB");
    EXPECT_EQ(message({{"attn", q}}, {.policies = {"h2o"}}),
              "view: the file has weights alone, policies and selections need q and k");
    EXPECT_EQ(message({{"q", q}, {"k", normals({1, 9, 3})}}), "softmax_statistics: k has 3 features, q has 4");
}

/// Weights of every layer and head of the bundled model.
TEST_F(ViewModelTest, ShowsTheWeightsOfTheModel) {
    const std::string text = "let kavo=4821\nget kavo=";
    const Picture p = view::of_model(ATTENTA_MODEL, {.text = text}, {.selections = {"strided:stride=4"}});
    const auto count = std::ssize(text);
    EXPECT_EQ(p.grid.queries, count);
    EXPECT_EQ(std::accumulate(p.tokens.begin(), p.tokens.end(), std::string()), "let kavo=4821⏎get kavo=");

    const llama::Model model(ATTENTA_MODEL);
    ASSERT_EQ(std::ssize(p.heads), model.config().layers * model.config().heads);
    attenta::KvCache cache = model.make_cache(count);
    const std::vector<llama::Token> tokens(text.begin(), text.end());
    model.forward(tokens, cache, 1, attenta::default_context(),
                  [&](std::int64_t layer, Heads<const float> q, Heads<const float> k, const auto&, const auto&) {
                      for (std::int64_t h = 0; h < q.heads; ++h)
                          expect_head(p.heads[static_cast<std::size_t>(layer * q.heads + h)], p.grid, 0,
                                      naive_softmax(q, k, h, usual_scale(q),
                                                    [](std::int64_t i, std::int64_t j) { return j <= i; }),
                                      1e-4);
                  });
}

TEST_F(ViewModelTest, LayersThatAreNotShownStillCount) {
    const view::Prompt prompt{.text = "get kavo=", .ids = {}};
    const Picture all = view::of_model(ATTENTA_MODEL, prompt, {}),
                  last = view::of_model(ATTENTA_MODEL, prompt, {.layers = {2}});
    ASSERT_EQ(std::ssize(last.heads), last.heads_per_layer);
    for (std::int64_t h = 0; h < last.heads_per_layer; ++h) {
        const view::Head &of_all = all.heads[static_cast<std::size_t>(2 * last.heads_per_layer + h)],
                         &of_last = last.heads[static_cast<std::size_t>(h)];
        EXPECT_EQ(of_last.layer, 2);
        EXPECT_NEAR(of_last.entropy, of_all.entropy, 1e-5);
    }
}

TEST_F(ViewModelTest, BytesAreWrittenAsTheCharactersThatTheyAre) {
    const Picture p = view::of_model(ATTENTA_MODEL, {.text = "a\xC3\xA9\n\t\x80\x01\xE2\x82\xAC\xE2\x82"}, {});
    const std::vector<std::string> want = {"a", "é", "·", "⏎", "⇥", "\\x80", "\\x01", "€", "·", "·", "\\xE2", "\\x82"};
    EXPECT_EQ(p.tokens, want);
}

TEST_F(ViewModelTest, RefusesPromptsThatDoNotFit) {
    const auto message = [](const view::Prompt& prompt, const Settings& settings = {}) {
        return message_of([&] { view::of_model(ATTENTA_MODEL, prompt, settings); });
    };
    const auto most = std::to_string(llama::Model(ATTENTA_MODEL).config().max_positions);
    EXPECT_EQ(message({}), "view: the prompt has 0 tokens, the model takes 1 to " + most);
    EXPECT_EQ(message({.text = std::string(100000, 'a')}),
              "view: the prompt has 100000 tokens, the model takes 1 to " + most);
    EXPECT_EQ(message({.text = "a", .ids = {1}}), "view: there are a prompt and prompt-ids, needs one of them");
    EXPECT_NE(message({.ids = {1, 256}}), "(no Error)");
    EXPECT_TRUE(
        message({.text = "abc"}, {.memory = 1000}).starts_with("view: attention of 3 queries and 3 keys takes "));
    EXPECT_EQ(message({.text = "abc"}, {.policies = {"h2o"}, .prefill = 4}),
              "view: policy h2o reads 4 tokens at once, needs 1 to 3");
}

}  // namespace
