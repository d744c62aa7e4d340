#include <attenta/kv/eviction/head_shares.hpp>

#include <gtest/gtest.h>

#include <limits>

#include "support/errors.hpp"

namespace attenta_test {
namespace {

using Shares = std::vector<std::int64_t>;

Shares shares(const std::vector<std::vector<float>>& scores, std::int64_t n, std::int64_t least = 0) {
    return attenta::eviction::head_shares("own", std::vector<std::span<const float>>(scores.begin(), scores.end()), n,
                                          least);
}

TEST(HeadShares, CountTheBestOfAllHeads) {
    const std::vector<std::vector<float>> scores = {{9, 1, 8}, {2, 7, 3}, {0, 0, 4}};
    EXPECT_EQ(shares(scores, 0), (Shares{0, 0, 0}));
    EXPECT_EQ(shares(scores, 3), (Shares{2, 1, 0}));
    EXPECT_EQ(shares(scores, 5), (Shares{2, 2, 1}));
    EXPECT_EQ(shares(scores, 9), (Shares{3, 3, 3}));
    EXPECT_EQ(shares(scores, 99), (Shares{3, 3, 3}));
}

TEST(HeadShares, TheLeastOfEveryHeadIsSure) {
    const std::vector<std::vector<float>> scores = {{9, 1, 8}, {2, 7, 3}, {0, 0, 4}};
    EXPECT_EQ(shares(scores, 3, 1), (Shares{1, 1, 1}));
    EXPECT_EQ(shares(scores, 5, 1), (Shares{2, 2, 1}));
    EXPECT_EQ(shares(scores, 4, -2), (Shares{2, 1, 1}));
    EXPECT_EQ(shares(scores, 3, 9), (Shares{3, 3, 3}));
}

TEST(HeadShares, OfEqualScoresTheLaterTokenThenTheHigherHead) {
    const std::vector<std::vector<float>> scores = {{5, 5, 5}, {5, 5, 5}};
    EXPECT_EQ(shares(scores, 1), (Shares{0, 1}));
    EXPECT_EQ(shares(scores, 2), (Shares{1, 1}));
    EXPECT_EQ(shares(scores, 3), (Shares{1, 2}));
}

TEST(HeadShares, RefuseNaN) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(refuses([&] { shares({{1, 2}, {1, nan}}, 2); }, {"own", "score", "1", "NaN"}));
}

}  // namespace
}  // namespace attenta_test
