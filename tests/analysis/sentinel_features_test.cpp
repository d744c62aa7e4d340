// Sentence features, their probe and the choice under a budget equal their definition; their own errors.
#include <attenta/analysis/sentinel_features.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::SentinelFeaturesInputs, analysis::SentinelFeaturesOptions;
constexpr auto call = &analysis::sentinel_features;

Values definition(const SentinelFeaturesInputs& x, const SentinelFeaturesOptions& o) {
    const std::int64_t heads = x.attn.count(0, 2), keys = x.attn.size(2);
    Values want;
    for (std::size_t s = 0; s < x.sent_start.size(); ++s) {
        double logit = x.coef.empty() ? 0 : double{x.intercept[0]};
        for (std::int64_t h = 0; h < heads; ++h) {
            const auto at = static_cast<std::size_t>(h);
            double all = 0, mean = 0;
            for (std::int64_t j = o.context_start; j < o.context_end; ++j) all += double{x.attn.data[h * keys + j]};
            for (std::int64_t j = x.sent_start[s]; j < x.sent_end[s]; ++j)
                mean += double{x.attn.data[h * keys + j]} / std::max(all, 1e-8) /
                        static_cast<double>(x.sent_end[s] - x.sent_start[s]);
            want["features"].push_back(mean);
            if (!x.mean.empty()) mean = (mean - double{x.mean[at]}) / double{x.std[at]};
            if (!x.coef.empty()) logit += double{x.coef[at]} * mean;
        }
        if (!x.coef.empty()) want["probability"].push_back(1 / (1 + std::exp(-logit)));
    }
    if (!o.budget) return want;
    const auto& probability = want["probability"];
    std::vector<std::size_t> order(probability.size());
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return probability[a] > probability[b]; });
    std::vector<double> keep(order.size());
    std::int64_t used = 0;
    for (const std::size_t s : order) {
        used += x.sent_end[s] - x.sent_start[s];
        if (used > *o.budget) break;
        keep[s] = 1;
    }
    if (std::accumulate(keep.begin(), keep.end(), 0.0) == 0) keep[order[0]] = 1;
    want["keep"] = keep;
    return want;
}

/// `sentences` of up to `longest` tokens in a context that starts at token 3 and ends one behind the last.
struct Text {
    SentinelFeaturesInputs x;
    SentinelFeaturesOptions o;
};
Text text(Memory& memory, std::int64_t layers, std::int64_t heads, std::int64_t sentences, std::int64_t longest) {
    std::vector<std::int64_t> start, end;
    std::int64_t at = 3;
    for (std::int64_t s = 0; s < sentences; ++s) {
        start.push_back(at);
        at += memory.random.integer(1, longest);
        end.push_back(at);
    }
    SentinelFeaturesInputs x{memory.weights<3>({layers, heads, at + 5}), memory.indices(start), memory.indices(end)};
    return {x, {3, at + 1}};
}
void add_probe(Memory& memory, SentinelFeaturesInputs& x, bool normalized) {
    const std::int64_t heads = x.attn.count(0, 2);
    const auto above_0 = [&] {
        std::vector<float> n = memory.random.normals(heads);
        for (float& e : n) e = 0.01f + 0.02f * std::abs(e);
        return memory.vector(n);
    };
    x.coef = memory.vector(memory.random.normals(heads));
    x.intercept = memory.vector({-0.4f});
    if (!normalized) return;
    x.mean = above_0();
    x.std = above_0();
}

TEST(SentinelFeatures, EqualTheirDefinition) {
    Memory memory;
    for (const auto& [layers, heads, sentences, longest] :
         {std::array<std::int64_t, 4>{1, 1, 1, 1}, {4, 3, 5, 13}, {3, 11, 40, 9}, {1, 2, 3, 900}}) {
        auto [x, o] = text(memory, layers, heads, sentences, longest);
        expect_values<call>(x, o, definition(x, o));
        for (const bool normalized : {false, true}) {
            add_probe(memory, x, normalized);
            o.budget.reset();
            expect_values<call>(x, o, definition(x, o));
            for (const std::int64_t budget : {std::int64_t{0}, longest, sentences * longest / 3, sentences * longest}) {
                o.budget = budget;
                expect_values<call>(x, o, definition(x, o));
            }
        }
    }
}

TEST(SentinelFeatures, AreZeroWithoutWeightOnTheContextAndSentencesMayOverlap) {
    Memory memory;
    const std::vector<float> attn = {1, 0, 0, 0, 0, 0.5f, 0.25f, 0.25f};
    const SentinelFeaturesInputs x{
        {memory.vector(attn).data(), {1, 2, 4}}, memory.indices({1, 1}), memory.indices({3, 2})};
    expect_values<call>(x, {1, 4}, {{"features", {0, 0.375, 0, 0.5}}});
}

TEST(SentinelFeatures, KeepTheLowerOnesOfEqualSentencesAndStopAtTheFirstThatDoesNotFit) {
    Memory memory;
    const std::vector<float> attn = {0.125f, 0.125f, 0.0625f, 0.0625f, 0.0625f, 0.0625f, 0.125f, 0.125f, 0.25f};
    SentinelFeaturesInputs x{
        {memory.vector(attn).data(), {1, 1, 9}}, memory.indices({0, 2, 4, 6, 8}), memory.indices({2, 4, 6, 8, 9})};
    x.coef = memory.vector({1});
    x.intercept = memory.vector({0});
    const auto keeps = [&](std::int64_t budget, const std::vector<double>& keep) {
        const SentinelFeaturesOptions o{0, 9, budget};
        Values want = definition(x, o);
        EXPECT_EQ(want["keep"], keep);
        expect_values<call>(x, o, want);
    };
    keeps(0, {0, 0, 0, 0, 1});
    keeps(2, {0, 0, 0, 0, 1});
    keeps(3, {1, 0, 0, 0, 1});
    keeps(7, {1, 1, 0, 1, 1});
    keeps(8, {1, 1, 0, 1, 1});
    keeps(9, {1, 1, 1, 1, 1});
}

TEST(SentinelFeaturesErrors, SayWhatDoesNotFit) {
    Memory memory;
    auto [x, o] = text(memory, 2, 3, 4, 6);
    add_probe(memory, x, true);
    o.budget = 7;
    expect_bad_tensors_refused<call>(x, o);
    const auto refused = [&, &good_x = x, &good = o](auto change, std::initializer_list<std::string_view> words) {
        return refuses_inputs<call>(good_x, good, change, words);
    };
    const auto options = [&, &good_x = x, &good = o](auto change, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(good_x, good, change, words);
    };
    EXPECT_TRUE(options([](auto& p) { p.context_start = -1; }, {"sentinel_features", "context_start", "1"}));
    EXPECT_TRUE(options([](auto& p) { p.context_end = 3; }, {"context_end", "3", "4"}));
    EXPECT_TRUE(options([](auto& p) { p.context_end = 1000; }, {"context_end", "1000"}));
    EXPECT_TRUE(options([](auto& p) { p.context_start = 4; }, {"sentence", "0", "3", "4"}));
    EXPECT_TRUE(options([](auto& p) { p.budget = -1; }, {"budget", "1", "0"}));
    EXPECT_TRUE(refused([](auto& in) { in.sent_end = in.sent_start; }, {"sentence", "0", "start"}));
    EXPECT_TRUE(refused([](auto& in) { in.coef = {}; }, {"coef", "intercept"}));
    EXPECT_TRUE(refused([](auto& in) { in.intercept = {}; }, {"intercept", "coef"}));
    EXPECT_TRUE(refused([](auto& in) { in.mean = {}; }, {"mean", "std"}));
    EXPECT_TRUE(refused([](auto& in) { in.std = {}; }, {"std", "mean"}));
    EXPECT_TRUE(refused([](auto& in) { in.coef = in.intercept = in.mean = in.std = {}; }, {"coef", "budget"}));
    EXPECT_TRUE(refused([](auto& in) { in.mean = in.mean.first(5); }, {"mean", "5", "6"}));
    EXPECT_TRUE(refused(
        [](auto& in) {
            in.coef = in.coef.first(5);
            in.mean = in.std = {};
        },
        {"coef", "5", "6"}));
    EXPECT_TRUE(refused([&](auto& in) { in.std = memory.vector({1, 1, 0, 1, 1, 1}); }, {"std", "above", "0"}));
    EXPECT_TRUE(refused([&](auto& in) { in.intercept = memory.vector({std::nanf("")}); }, {"intercept", "finite"}));
    const_cast<float&>(x.attn.data[2]) = std::nanf("");
    EXPECT_TRUE(refused([](auto&) {}, {"attn", "2", "finite"}));
}

}  // namespace
}  // namespace attenta_test
