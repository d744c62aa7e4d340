// Retrieval scores equal their definition, with equal weights among the strongest; their own errors.
#include <attenta/analysis/retrieval_score.hpp>

#include <set>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::RetrievalScoreInputs, analysis::RetrievalScoreOptions;
constexpr auto call = &analysis::retrieval_score;

Values definition(const RetrievalScoreInputs& x, const RetrievalScoreOptions& o) {
    const std::int64_t steps = x.attn.size(0), heads = x.attn.count(1, 3), keys = x.attn.size(3);
    const auto token = [&](std::int64_t j) { return x.prompt_ids[static_cast<std::size_t>(j)]; };
    std::set<std::int64_t> needle;
    for (std::int64_t j = o.needle_start; j < o.needle_end; ++j) needle.insert(token(j));
    Values want;
    for (std::int64_t h = 0; h < heads; ++h) {
        std::set<std::int64_t> copied;
        double score = 0;
        for (std::int64_t s = 0; s < steps; ++s) {
            const float* const row = x.attn.data + (s * heads + h) * keys;
            std::vector<std::int64_t> order(static_cast<std::size_t>(keys));
            std::iota(order.begin(), order.end(), 0);
            std::stable_sort(order.begin(), order.end(), [row](auto a, auto b) { return row[a] > row[b]; });
            const std::int64_t made = x.generated_ids[static_cast<std::size_t>(s)];
            if (std::any_of(order.begin(), order.begin() + o.topk, [&](std::int64_t j) {
                    return j >= o.needle_start && j < o.needle_end && token(j) == made;
                })) {
                score += 1 / static_cast<double>(o.needle_end - o.needle_start);
                copied.insert(made);
            }
        }
        want["score"].push_back(score);
        want["score_set"].push_back(static_cast<double>(copied.size()) / static_cast<double>(needle.size()));
        want["is_retrieval"].push_back(score > o.threshold);
    }
    return want;
}

/// Weights of few values, so that many are equal.
RetrievalScoreInputs drawn(Memory& memory, std::int64_t steps, std::int64_t layers, std::int64_t heads,
                           std::int64_t prompt, std::int64_t keys, std::int64_t vocabulary) {
    std::vector<float> attn;
    for (std::int64_t n = 0; n < steps * layers * heads * keys; ++n)
        attn.push_back(static_cast<float>(memory.random.integer(0, 20)) / 20);
    const auto ids = [&](std::int64_t n) {
        std::vector<std::int64_t> all;
        for (std::int64_t i = 0; i < n; ++i) all.push_back(memory.random.integer(0, vocabulary - 1));
        return memory.indices(all);
    };
    return {{memory.vector(attn).data(), {steps, layers, heads, keys}}, ids(steps), ids(prompt)};
}

TEST(RetrievalScoreOfWeights, EqualsItsDefinition) {
    Memory memory;
    for (const auto& [steps, layers, heads, prompt, keys, vocabulary, topk] :
         {std::array<std::int64_t, 7>{1, 1, 1, 1, 1, 1, 1},
          {9, 2, 4, 31, 40, 6, 1},
          {13, 3, 3, 23, 36, 4, 3},
          {20, 1, 2, 150, 170, 9, 11}}) {
        const auto x = drawn(memory, steps, layers, heads, prompt, keys, vocabulary);
        const RetrievalScoreOptions o{prompt / 3, prompt / 3 + (prompt + 1) / 2, topk, 0.25001};
        expect_values<call>(x, o, definition(x, o));
    }
}

TEST(RetrievalScoreOfWeightsErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const auto x = drawn(memory, 4, 2, 3, 9, 12, 5);
    const RetrievalScoreOptions good{2, 5};
    expect_bad_tensors_refused<call>(x, good);
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(x, good, change, words);
    };
    EXPECT_TRUE(refused([](auto& o) { o.needle_start = -1; }, {"retrieval_score", "needle_start", "1"}));
    EXPECT_TRUE(refused([](auto& o) { o.needle_end = 2; }, {"needle_end", "2", "3"}));
    EXPECT_TRUE(refused([](auto& o) { o.needle_end = 10; }, {"needle_end", "10", "9"}));
    EXPECT_TRUE(refused([](auto& o) { o.topk = 0; }, {"topk", "0"}));
    EXPECT_TRUE(refused([](auto& o) { o.topk = 13; }, {"topk", "13", "12"}));
    EXPECT_TRUE(refused([](auto& o) { o.threshold = std::nan(""); }, {"threshold"}));
    EXPECT_TRUE(refuses_inputs<call>(x, good, [](auto& in) { in.attn.sizes[3] = 8; }, {"prompt_ids", "9", "8"}));
}

}  // namespace
}  // namespace attenta_test
