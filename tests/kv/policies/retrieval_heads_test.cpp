#include <attenta/kv/policies/retrieval_heads.hpp>

#include <cmath>
#include <limits>

#include "kv/support/given.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::RetrievalHeads, attenta::RetrievalHeadsOptions;

/// head_score [Hq]
std::span<const float> head_score_of(const EvictionCase& x) { return given_numbers(x, x.sizes.Hq); }

auto make(const EvictionCase& x, const RetrievalHeadsOptions& o) {
    return std::make_unique<RetrievalHeads>(head_score_of(x), o);
}

/// The best of a head's query heads reaches the threshold, or the quantile of all of these.
std::vector<Positions> retrieval_heads(const NaiveCache& c, const RetrievalHeadsOptions& o) {
    std::vector<Positions> kept = c.kept;
    const auto score = head_score_of(c.x);
    std::vector<double> best;
    for (std::int64_t g = 0; g < std::ssize(kept); ++g)
        best.push_back(
            c.by_group(g, attenta::GroupScore::max, [&](std::int64_t h) { return double{score[NaiveCache::u(h)]}; }));
    double least = o.threshold;
    if (o.sparsity) {
        std::vector<double> sorted = best;
        std::sort(sorted.begin(), sorted.end());
        const double at = *o.sparsity * static_cast<double>(sorted.size() - 1), below = std::floor(at);
        const double low = sorted[static_cast<std::size_t>(below)],
                     high = sorted[static_cast<std::size_t>(std::ceil(at))];
        least = low + (at - below) * (high - low);
    }
    for (std::size_t g = 0; g < kept.size(); ++g) {
        Positions& held = kept[g];
        while (best[g] < least && std::ssize(held) > o.sink + o.recent)
            held.erase(std::find_if(held.begin(), held.end(), [&](std::int64_t j) { return j >= o.sink; }));
    }
    return kept;
}

[[maybe_unused]] const auto& policy = test_given_policy<RetrievalHeads, make, retrieval_heads>(
    "retrieval_heads", {{"threshold", {.threshold = 0.6f, .sink = 3, .recent = 9}},
                        {"sparsity", {.sparsity = 0.5, .sink = 0, .recent = 12}},
                        {"a third", {.sparsity = 0.3, .sink = 4, .recent = 7}}});

TEST(RetrievalHeads, FullHeadsAreThoseThatReachTheScore) {
    const std::vector<float> score = {0.1f, 0.4f, 0.5f, 0.9f};
    const auto full = [&](attenta::EvictionShape shape, const RetrievalHeadsOptions& o) {
        return attenta::full_heads(score, shape, o);
    };
    using Heads = std::vector<bool>;
    const attenta::EvictionShape one_each{8, 4, 16, 16}, groups{4, 2, 16, 16};
    EXPECT_EQ(full(one_each, {}), (Heads{false, false, true, true}));
    EXPECT_EQ(full(groups, {}), (Heads{false, true}));
    EXPECT_EQ(full(groups, {.threshold = 0.4f}), (Heads{true, true}));
    EXPECT_EQ(full(one_each, {.sparsity = 0.3}), (Heads{false, true, true, true})) << "quantile 0.37";
    EXPECT_EQ(full(one_each, {.sparsity = 0.7}), (Heads{false, false, false, true})) << "quantile 0.54";
    EXPECT_EQ(full(one_each, {.sparsity = 1.0}), (Heads{false, false, false, false}));
    EXPECT_EQ(full(one_each, {.sparsity = 0.0}), (Heads{true, true, true, true}));
}

TEST(RetrievalHeads, RefusesWhatDoesNotFit) {
    std::vector<float> score(4, 0.5f);
    const auto needs = [&](const RetrievalHeadsOptions& o) { RetrievalHeads(score, o).needs({4, 2, 16, 16}); };
    const char* const f = "retrieval_heads";
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_NO_THROW(needs({}));
    EXPECT_TRUE(refuses([&] { needs({.sink = -1}); }, {f, "sink", "-1", "0"}));
    EXPECT_TRUE(refuses([&] { needs({.recent = -1}); }, {f, "recent", "-1", "0"}));
    EXPECT_TRUE(refuses([&] { needs({.recent = std::numeric_limits<std::int64_t>::max()}); }, {f, "sink", "64"}));
    EXPECT_TRUE(refuses([&] { needs({.threshold = nan}); }, {f, "threshold", "nan"}));
    EXPECT_TRUE(refuses([&] { needs({.sparsity = double{nan}}); }, {f, "sparsity", "nan"}));
    EXPECT_TRUE(refuses([&] { RetrievalHeads(score, {}).needs({6, 3, 16, 16}); }, {f, "head_score", "4", "3", "6"}));
    score[1] = nan;
    EXPECT_TRUE(refuses([&] { needs({}); }, {f, "head_score", "finite"}));
}

}  // namespace
}  // namespace attenta_test
