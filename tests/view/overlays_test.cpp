// What overlays keep is what the policies and selections of the library keep.
#include "overlays.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "support/catalog.hpp"
#include "support/random.hpp"

namespace {

using namespace attenta_test;
using attenta::Context;
using attenta::Heads;
using attenta::TensorFile;
using attenta::Tensors;
using view::KeptPairs;
using view::LayerInputs;

/// The keys below `count` that a query reads.
std::vector<std::int64_t> row_of(const KeptPairs& kept, std::int64_t head, std::int64_t query, std::int64_t count) {
    const auto flags = std::make_unique<bool[]>(static_cast<std::size_t>(count));
    const std::int64_t half = count / 2;
    kept.row(head, query, 0, {flags.get(), static_cast<std::size_t>(half)});
    kept.row(head, query, half, {flags.get() + half, static_cast<std::size_t>(count - half)});
    std::vector<std::int64_t> keys;
    for (std::int64_t j = 0; j < count; ++j)
        if (flags[static_cast<std::size_t>(j)]) keys.push_back(j);
    return keys;
}

/// q [T, Hq, D], k and v [T, Hkv, ...] of a case of the family kv, causal.
LayerInputs tokens_first(const TensorFile& file) {
    const auto view = [&](const char* name) {
        const attenta::Tensor& t = file.tensors.at(name);
        return attenta::nhd(t.as<float>().data(), t.shape[0], t.shape[1], t.shape[2]);
    };
    LayerInputs x{.q = view("in.q"), .k = view("in.k"), .v = view("in.v"), .options = {}};
    x.options.causal = true;
    return x;
}

TEST(ViewPolicyTest, KeepsWhatTheGoldenCasesKeep) {
    Context context;
    // Those whose parameters are the policy's defaults.
    for (const auto& [policy, name] :
         {std::pair{"h2o", "gqa"}, {"streaming", "gqa"}, {"knorm", "gqa"}, {"keydiff", "gqa"}, {"tova", "layer"}}) {
        SCOPED_TRACE(policy);
        const TensorFile file = TensorFile::load(golden_path("kv", policy, name));
        const auto parameters = nlohmann::json::parse(file.metadata.at("params"));
        const LayerInputs x = tokens_first(file);
        const auto kept = view::kept_by({policy, parameters.at("budget"), parameters.at("prompt")}, x, context);
        const attenta::Tensor& want = file.tensors.at("out.kept");
        for (std::int64_t h = 0; h < x.q.heads; ++h) {
            const auto row =
                want.as<std::int64_t>().subspan(static_cast<std::size_t>(h * x.k.heads / x.q.heads * want.shape[1]),
                                                static_cast<std::size_t>(want.shape[1]));
            // Of a query that would come next.
            EXPECT_EQ(row_of(*kept, h, x.q.tokens, x.k.tokens), std::vector<std::int64_t>(row.begin(), row.end()))
                << "head " << h;
        }
    }
}

TEST(ViewPolicyTest, StreamingReadsSinksAndTheNewestTokensFromThePromptOn) {
    constexpr std::int64_t tokens = 41, prompt = 23, budget = 11, sink = 4;
    Random random(1);
    const auto q = random.normals(4 * tokens * 8), k = random.normals(2 * tokens * 8),
               v = random.normals(2 * tokens * 5);
    LayerInputs x{attenta::hnd(q.data(), 4, tokens, 8),
                  attenta::hnd(k.data(), 2, tokens, 8),
                  attenta::hnd(v.data(), 2, tokens, 5),
                  {}};
    x.options.causal = true;
    Context context;
    const auto kept = view::kept_by(view::Policy{"streaming", budget, prompt}, x, context);
    for (std::int64_t h = 0; h < 4; ++h)
        for (std::int64_t i = 0; i < tokens; ++i) {
            std::vector<std::int64_t> want;
            // The prompt attends to all of itself; then a token joins those that are kept.
            for (std::int64_t j = 0; j <= i; ++j)
                if (i < prompt || j < sink || j >= i - (budget - sink)) want.push_back(j);
            EXPECT_EQ(row_of(*kept, h, i, i + 1), want) << "head " << h << ", query " << i;
        }
}

TEST(ViewPolicyTest, EveryPolicyKeepsItsBudgetOfThePrompt) {
    constexpr std::int64_t budget = 16, prompt = 30;
    const TensorFile file = TensorFile::load(golden_path("kv", "h2o", "gqa"));
    const LayerInputs x = tokens_first(file);
    Context context;
    for (const std::string& policy : view::policy_names()) {
        SCOPED_TRACE(policy);
        const auto kept = view::kept_by(view::Policy{policy, budget, prompt}, x, context);
        EXPECT_EQ(std::ssize(row_of(*kept, 0, prompt - 1, prompt)), prompt) << "the prompt reads all of itself";
        std::int64_t sum = 0;
        for (std::int64_t h = 0; h < x.q.heads; ++h) sum += std::ssize(row_of(*kept, h, prompt, prompt));
        // Budgets may move between heads, with shares rounded down.
        EXPECT_LE(sum, budget * x.q.heads);
        EXPECT_GT(sum, (budget - 1) * x.q.heads);
    }
}

TEST(ViewPolicyTest, RefusesWhatACacheDoesNotDo) {
    const TensorFile file = TensorFile::load(golden_path("kv", "h2o", "gqa"));
    const LayerInputs x = tokens_first(file);
    Context context;
    const auto message = [&](const view::Policy& policy, const auto& change) {
        LayerInputs changed = x;
        change(changed);
        return message_of([&] { view::kept_by(policy, changed, context); });
    };
    const auto same = [](LayerInputs&) {};
    EXPECT_EQ(message({"no_such", 8, 8}, same), "caches: there is nothing called no_such");
    EXPECT_EQ(message({"h2o", 0, 8}, same), "view: policy h2o has a budget of 0, needs at least 1");
    EXPECT_EQ(message({"h2o", 8, 58}, same), "view: policy h2o reads 58 tokens at once, needs 1 to 57");
    EXPECT_EQ(message({"h2o", 8, 8}, [](LayerInputs& y) { y.v = {}; }), "view: policy h2o needs v");
    EXPECT_EQ(message({"h2o", 8, 8}, [](LayerInputs& y) { y.options.causal = false; }),
              "view: policy h2o needs causal attention");
    EXPECT_EQ(message({"h2o", 8, 8}, [](LayerInputs& y) { y.q = y.q.slice(0, 5); }),
              "view: policy h2o needs a query for each key, there are 5 queries and 57 keys");
    EXPECT_EQ(message({"h2o", 8, 8}, [](LayerInputs& y) { y.options.window_left = 3; }),
              "view: policy h2o needs causal attention without windows, masks, biases, soft-cap and sinks");
}

/// A golden case of a selection. Its lse is over the keys that it reads.
struct SparseCase {
    TensorFile file;
    Tensors inputs;
    nlohmann::json parameters;

    explicit SparseCase(const std::filesystem::path& path)
        : file(TensorFile::load(path)), parameters(nlohmann::json::parse(file.metadata.at("params"))) {
        for (const auto& [name, tensor] : file.tensors)
            if (name.starts_with("in.")) inputs[name.substr(3)] = tensor;
    }
    Heads<const float> heads(const char* name) const {
        const attenta::Tensor& t = inputs.at(name);
        return attenta::hnd(t.as<float>().data(), t.shape[0], t.shape[1], t.shape[2]);
    }
    /// Scores are more than products of q and k.
    bool changes_scores() const {
        return inputs.contains("bias") || inputs.contains("k_global") || parameters.value("gate", "none") != "none";
    }
};

TEST(ViewSelectionTest, TheKeysThatAreReadGiveTheLseOfTheGoldenCases) {
    Context context;
    std::set<std::string> seen;
    for (const std::string& name : view::selection_names())
        for (const auto& path : golden_cases("sparse", name)) {
            SCOPED_TRACE(path.filename().string() + " of " + name);
            const SparseCase c(path);
            if (c.changes_scores()) continue;
            const Heads<const float> q = c.heads("q"), k = c.heads("k");
            const auto given = c.parameters.find("scale");
            const double scale = given != c.parameters.end() && given->is_number()
                                     ? given->get<double>()
                                     : 1 / std::sqrt(static_cast<double>(q.dim));
            const bool causal = c.parameters.value("causal", view::is_causal_selection(name));
            const auto kept =
                view::kept_by(view::Selection{name, c.parameters.dump()}, {q, k, c.heads("v"), {}, &c.inputs}, context);
            const auto want = c.file.tensors.at("out.lse").as<float>();
            for (std::int64_t h = 0; h < q.heads; ++h)
                for (std::int64_t i = 0; i < q.tokens; ++i) {
                    std::vector<double> scores;
                    double top = -INFINITY, sum = 0;
                    for (const std::int64_t j : row_of(*kept, h, i, k.tokens)) {
                        if (causal && j > i + k.tokens - q.tokens) continue;
                        double dot = 0;
                        for (std::int64_t d = 0; d < q.dim; ++d)
                            dot += double{q.row(h, i)[d]} * double{k.row(h * k.heads / q.heads, j)[d]};
                        scores.push_back(scale * dot);
                        top = std::max(top, scores.back());
                    }
                    for (const double s : scores) sum += std::exp(s - top);
                    const double lse = sum > 0 ? top + std::log(sum) : -INFINITY;
                    const auto lse_want = double{want[static_cast<std::size_t>(h * q.tokens + i)]};
                    if (lse != lse_want) {
                        ASSERT_NEAR(lse, lse_want, 2e-5 + 2e-4 * std::abs(lse_want)) << "head " << h << ", query " << i;
                    }
                }
            seen.insert(name);
        }
    EXPECT_EQ(seen.size(), view::selection_names().size()) << "every selection has a case";
}

TEST(ViewSelectionTest, IsReadFromItsText) {
    const view::Selection plain = view::selection_of("quest"),
                          given = view::selection_of("quest:page_size=8:top_pages=2");
    EXPECT_EQ(plain.name, "quest");
    EXPECT_EQ(nlohmann::json::parse(plain.parameters), nlohmann::json::object());
    EXPECT_EQ(nlohmann::json::parse(given.parameters), (nlohmann::json{{"page_size", 8}, {"top_pages", 2}}));
    EXPECT_TRUE(message_of([] {
                    view::selection_of("h2o");
                }).starts_with("view: there is no selection 'h2o', there are quest, "));
    EXPECT_EQ(message_of([] { view::selection_of("quest:pages=3"); }),
              "view: selection quest has no parameter 'pages', see `attenta show quest`");
    EXPECT_EQ(message_of([] { view::selection_of("quest:page_size"); }),
              "view: selection quest has 'page_size', needs PARAMETER=VALUE");
    EXPECT_EQ(message_of([] { view::selection_of("quest:=3"); }),
              "view: selection quest has '=3', needs PARAMETER=VALUE");
}

}  // namespace
