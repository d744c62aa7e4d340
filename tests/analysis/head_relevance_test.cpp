// Head relevance equals its definition; a concept that never wins; equal strengths; its own errors.
#include <attenta/analysis/head_relevance.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::HeadRelevanceInputs, analysis::HeadRelevanceOptions;
constexpr auto call = &analysis::head_relevance;

Values definition(const HeadRelevanceInputs& x, const HeadRelevanceOptions& o) {
    const std::int64_t samples = x.attn.size(0), heads = x.attn.size(1), positions = x.attn.size(2),
                       words = x.attn.size(3);
    Values want;
    std::vector<std::vector<double>> share;
    for (std::int64_t h = 0; h < heads; ++h) {
        std::vector<double> count(static_cast<std::size_t>(o.concepts));
        for (std::int64_t n = 0; n < samples; ++n) {
            std::size_t best = 0;
            double largest = -1;
            for (std::int64_t c = 0; c < o.concepts; ++c) {
                double sum = 0, terms = 0;
                for (std::int64_t w = 0; w < words; ++w)
                    for (std::int64_t r = 0; x.word_concept[static_cast<std::size_t>(w)] == c && r < positions; ++r) {
                        sum += double{x.attn.data[((n * heads + h) * positions + r) * words + w]};
                        terms += 1;
                    }
                if (sum / terms > largest) {
                    largest = sum / terms;
                    best = static_cast<std::size_t>(c);
                }
            }
            count[best] += 1;
        }
        want["count"].insert(want["count"].end(), count.begin(), count.end());
        const double all = std::accumulate(count.begin(), count.end(), 0.0);
        share.emplace_back();
        for (const double votes : count) share.back().push_back(votes / std::max(all, 1.0));
    }
    for (std::size_t c = 0; c < static_cast<std::size_t>(o.concepts); ++c) {
        double all = 0;
        for (const auto& of_head : share) all += of_head[c];
        for (const auto& of_head : share)
            want["relevance"].push_back(static_cast<double>(heads) * of_head[c] / std::max(all, 1e-12));
    }
    return want;
}

TEST(HeadRelevance, EqualsItsDefinition) {
    Memory memory;
    const HeadRelevanceInputs one{memory.weights<4>({1, 1, 1, 1}), memory.indices({0})};
    expect_values<call>(one, {1}, definition(one, {1}));
    const HeadRelevanceInputs four{memory.weights<4>({7, 6, 9, 8}), memory.indices({-1, 3, 0, 1, 2, 2, 2, 0})};
    expect_values<call>(four, {4}, definition(four, {4}));
    std::vector<std::int64_t> concepts;
    for (std::int64_t w = 0; w < 77; ++w) concepts.push_back(w % 12 - 1);
    const HeadRelevanceInputs many{memory.weights<4>({5, 3, 300, 77}), memory.indices(concepts)};
    expect_values<call>(many, {11}, definition(many, {11}));
}

TEST(HeadRelevance, IsNothingForAConceptThatNeverWinsAndTheLowestWinsOfEqualOnes) {
    Memory memory;
    const std::vector<float> attn = {0.375f, 0.375f, 0.25f, 0.375f, 0.375f, 0.25f};
    const HeadRelevanceInputs x{{memory.vector(attn).data(), {1, 2, 1, 3}}, memory.indices({1, 0, 2})};
    expect_values<call>(x, {3}, {{"count", {1, 0, 0, 1, 0, 0}}, {"relevance", {1, 1, 0, 0, 0, 0}}});
}

/// Concepts of one word and of many are equally strong where all weights are equal.
TEST(HeadRelevance, GivesTheVotesOfUniformWeightsToTheFirstConcept) {
    Memory memory;
    std::vector<std::int64_t> concepts(77, 2);
    concepts[0] = -1;
    concepts[40] = 0;
    concepts[9] = concepts[76] = concepts[50] = 1;
    const HeadRelevanceInputs x{{memory.vector(std::vector<float>(2 * 3 * 49 * 77, 1.f / 77)).data(), {2, 3, 49, 77}},
                                memory.indices(concepts)};
    expect_values<call>(x, {3}, {{"count", {2, 0, 0, 2, 0, 0, 2, 0, 0}}, {"relevance", {1, 1, 1, 0, 0, 0, 0, 0, 0}}});
}

TEST(HeadRelevanceErrors, SaysWhatDoesNotFit) {
    Memory memory;
    HeadRelevanceInputs x{memory.weights<4>({3, 2, 4, 5}), memory.indices({0, -1, 1, 1, 2})};
    expect_bad_tensors_refused<call>(x, {3});
    const auto concepts = [&](std::int64_t n, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(
            x, {3}, [n](auto& o) { o.concepts = n; }, words);
    };
    EXPECT_TRUE(concepts(0, {"head_relevance", "concepts", "0"}));
    EXPECT_TRUE(concepts(6, {"concepts", "6", "5"}));
    EXPECT_TRUE(concepts(2, {"word_concept", "2", "1"}));
    EXPECT_TRUE(concepts(4, {"word_concept", "concept", "3"}));
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_inputs<call>(x, {3}, change, words);
    };
    EXPECT_TRUE(refused([&](auto& in) { in.word_concept = memory.indices({0, -2, 1, 1, 2}); }, {"word_concept", "2"}));
    EXPECT_TRUE(refused([&](auto& in) { in.word_concept = memory.indices({0, 1, 2, 2}); }, {"word_concept", "4", "5"}));
    const_cast<float&>(x.attn.data[9]) = std::nanf("");
    EXPECT_TRUE(refused([](auto&) {}, {"attn", "9", "finite"}));
}

}  // namespace
}  // namespace attenta_test
