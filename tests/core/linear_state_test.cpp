// Sizes of states.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "support/errors.hpp"

namespace attenta_test {
namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

TEST(LinearStateSizes, AreRefusedWhereTheirProductLeaves64Bits) {
    const std::int64_t large = std::int64_t{1} << 32;
    EXPECT_TRUE(refuses([&] { attenta::LinearState(large, large, 1); }, {"LinearState", "4294967296"}));
    EXPECT_TRUE(refuses([&] { attenta::LinearState(1, most / 4 + 1, 1); }, {"LinearState"}));
    EXPECT_TRUE(refuses([&] { attenta::LinearState(-1, 5, -5); }, {"LinearState", "-1"}));
    EXPECT_TRUE(attenta::LinearState(0, 5, 5).empty());
    std::vector<std::byte> saved(attenta::LinearState(1, 2, 3).saved_bytes());
    attenta::LinearState(1, 2, 3).save(saved);
    const auto refused = [&](std::array<std::int64_t, 6> sizes) {
        std::memcpy(saved.data(), sizes.data(), sizeof sizes);
        return refuses([&] { attenta::LinearState::load(saved); }, {"LinearState::load", "from"});
    };
    EXPECT_TRUE(refused({large, large, 6, 0, 0, 0}));
    EXPECT_TRUE(refused({1, 2, 3, most - 5, 6, 0}));
    EXPECT_TRUE(refused({1, 2, 3, std::int64_t{1} << 62, 0, 0}));
    EXPECT_TRUE(refused({-1, -2, 3, 0, 0, 0}));
    EXPECT_TRUE(refused({1, 2, 2, 1, 0, 0}));
}

}  // namespace
}  // namespace attenta_test
