// Checked integers.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace attenta_test {
namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max(),
                       lowest = std::numeric_limits<std::int64_t>::min();

TEST(CheckedInts, KnowWhetherTheyAreTheTrueResult) {
    using attenta::CheckedInt;
    EXPECT_EQ((CheckedInt(3) * 4 + 5 - 20).value(), -3);
    EXPECT_TRUE((CheckedInt(3) * 4 + 5 - 20).valid());
    EXPECT_TRUE((CheckedInt(most - 1) + 1).valid());
    EXPECT_FALSE((CheckedInt(most) + 1).valid());
    EXPECT_FALSE((CheckedInt(lowest) - 1).valid());
    EXPECT_FALSE((CheckedInt(std::int64_t{1} << 32) * (std::int64_t{1} << 31)).valid());
    EXPECT_TRUE((CheckedInt(-(std::int64_t{1} << 32)) * (std::int64_t{1} << 31)).valid());
    EXPECT_FALSE((CheckedInt(lowest) * -1).valid());
    EXPECT_FALSE(((CheckedInt(most) + 1) * 0).valid()) << "what is made of a wrong number is wrong";
    EXPECT_FALSE((1 - (CheckedInt(most) + 1)).valid());
}

}  // namespace
}  // namespace attenta_test
