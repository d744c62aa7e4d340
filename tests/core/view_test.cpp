// Views of tensors.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "support/errors.hpp"

namespace attenta_test {
namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

TEST(Views, StridesAreNamedWhereMemoryHasGaps) {
    std::vector<int> x(1000);
    std::iota(x.begin(), x.end(), 0);
    int* const p = x.data();
    EXPECT_EQ(*attenta::nhd(p, 3, 2, 5, {.token_stride = 40}).row(1, 2), 2 * 40 + 5);
    EXPECT_EQ(*attenta::nhd(p, 3, 2, 5, {.head_stride = 8}).row(1, 2), 2 * 16 + 8);
    EXPECT_EQ(*attenta::nhd(p, 3, 2, 5, {.token_stride = 40, .head_stride = 8}).row(1, 2), 2 * 40 + 8);
    EXPECT_EQ(*attenta::hnd(p, 2, 3, 5, {.head_stride = 40}).row(1, 2), 40 + 2 * 5);
    EXPECT_EQ(*attenta::hnd(p, 2, 3, 5, {.token_stride = 8}).row(1, 2), 3 * 8 + 2 * 8);
    EXPECT_EQ(*attenta::nhd(p, 3, 2, 5, {.head_stride = 0}).row(1, 2), 2 * 5) << "heads share the rows of a token";
    EXPECT_EQ(*attenta::hnd(p, 2, 3, 5, {.token_stride = 0}).row(1, 2), 5) << "tokens share the row of a head";
}

TEST(Views, RefuseWhatLeaves64BitsAndTokensThatAreNotThere) {
    std::vector<float> room(10);
    float& x = room[0];
    const std::int64_t large = std::int64_t{1} << 32;
    EXPECT_TRUE(refuses([&] { attenta::hnd(&x, 1, large, large); }, {"hnd", "4294967296"}));
    EXPECT_TRUE(refuses([&] { attenta::nhd(&x, 1, large, large); }, {"nhd", "4294967296"}));
    EXPECT_TRUE(refuses([&] { attenta::nhd(&x, 1, 3, 5, {.head_stride = most}); }, {"nhd", "3"}));
    const auto view = attenta::hnd(&x, 1, 10, 1);
    EXPECT_TRUE(refuses([&] { view.slice(3, 8); }, {"slice", "8", "3", "10"}));
    EXPECT_TRUE(refuses([&] { view.slice(-1, 2); }, {"slice", "-1"}));
    EXPECT_TRUE(refuses([&] { view.slice(1, -2); }, {"slice", "-2"}));
    EXPECT_TRUE(refuses([&] { view.slice(1, most); }, {"slice"}));
    EXPECT_EQ(view.slice(10, 0).tokens, 0);
}

TEST(Views, BothOrdersOfMemoryFindTheSameRow) {
    std::vector<int> x(2 * 3 * 5);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<int>(i);
    EXPECT_EQ(attenta::hnd(x.data(), 2, 3, 5).row(1, 2)[4], (1 * 3 + 2) * 5 + 4);
    EXPECT_EQ(attenta::nhd(x.data(), 3, 2, 5).row(1, 2)[4], (2 * 2 + 1) * 5 + 4);
    EXPECT_EQ(attenta::nhd(x.data(), 3, 2, 5).slice(1, 2).row(1, 1)[4], (2 * 2 + 1) * 5 + 4);
    const attenta::Matrices<int> shared{x.data(), 1, 6, 5}, separate{x.data(), 2, 3, 5};
    EXPECT_EQ(shared.row(7, 4)[1], 21);
    EXPECT_EQ(separate.row(1, 2)[1], 26);
}

}  // namespace
}  // namespace attenta_test
