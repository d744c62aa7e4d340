// Context contribution equals its definition; protected tokens come first, in their order; its own errors.
#include <attenta/analysis/context_contribution.hpp>

#include "analysis/support/layers.hpp"

namespace attenta_test {
namespace {

using analysis::ContextContributionInputs, analysis::ContextContributionOptions;
constexpr auto call = &analysis::context_contribution;

Values definition(const ContextContributionInputs& x, const ContextContributionOptions& o) {
    const std::int64_t heads = x.attn.size(1), n = x.attn.size(2);
    Values want;
    for (std::int64_t l = 0; l < x.attn.size(0); ++l) {
        std::vector<double> score(static_cast<std::size_t>(n)), keep(score.size());
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t i = 0; i < n; ++i)
                for (std::int64_t j = 0; j < n; ++j)
                    score[static_cast<std::size_t>(j)] += head_of(x.attn, l, h)(i, j) / static_cast<double>(heads * n);
        std::vector<double> sorted = score;
        std::sort(sorted.begin(), sorted.end());
        const std::size_t m = sorted.size();
        want["contribution"].push_back(static_cast<double>(n) * (sorted[(m - 1) / 2] + sorted[m / 2]) / 2);
        std::vector<std::int64_t> order(score.size());
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
            return score[static_cast<std::size_t>(a)] > score[static_cast<std::size_t>(b)];
        });
        order.insert(order.begin(), o.protected_tokens.begin(), o.protected_tokens.end());
        double left = static_cast<double>(o.budgets[static_cast<std::size_t>(l)]);
        for (const std::int64_t t : order)
            if (left > 0 && keep[static_cast<std::size_t>(t)] == 0) {
                keep[static_cast<std::size_t>(t)] = 1;
                --left;
            }
        want["score"].insert(want["score"].end(), score.begin(), score.end());
        want["keep"].insert(want["keep"].end(), keep.begin(), keep.end());
    }
    return want;
}

TEST(ContextContribution, EqualsItsDefinition) {
    Memory memory;
    for (const auto& sizes : {std::array<std::int64_t, 4>{1, 1, 1, 1}, {3, 3, 17, 17}, {2, 2, 24, 24}})
        for (const bool causal : {false, true}) {
            const std::int64_t n = sizes[2];
            const ContextContributionInputs x{memory.weights(sizes, causal)};
            ContextContributionOptions o{std::vector<std::int64_t>(static_cast<std::size_t>(sizes[0]), (n + 1) / 2)};
            expect_values<call>(x, o, definition(x, o));
            o.protected_tokens = {n - 1};
            o.budgets.back() = 1;
            expect_values<call>(x, o, definition(x, o));
            o.protected_tokens = {};
            o.budgets.front() = n;
            expect_values<call>(x, o, definition(x, o));
        }
}

TEST(ContextContributionErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const ContextContributionInputs x{memory.weights<4>({2, 3, 7, 7})};
    const ContextContributionOptions good{{3, 2}};
    expect_bad_tensors_refused<call>(x, good);
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(x, good, change, words);
    };
    EXPECT_TRUE(refused([](auto& o) { o.budgets = {}; }, {"context_contribution", "budgets", "0", "2"}));
    EXPECT_TRUE(refused([](auto& o) { o.budgets = {3, 0}; }, {"budgets", "0", "1"}));
    EXPECT_TRUE(refused([](auto& o) { o.budgets = {3, 8}; }, {"budgets", "8", "7"}));
    EXPECT_TRUE(refused([](auto& o) { o.protected_tokens = {1, 7}; }, {"protected", "7", "6"}));
    EXPECT_TRUE(refused([](auto& o) { o.protected_tokens = {1, 1}; }, {"protected", "1", "twice"}));
}

}  // namespace
}  // namespace attenta_test
