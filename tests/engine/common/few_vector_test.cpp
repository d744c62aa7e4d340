// Short lists that need no memory of their own.
#include <attenta/engine/common/few_vector.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

namespace attenta_test {
namespace {

TEST(FewVectors, AreVectorsOfAnySize) {
    attenta::FewVector<int, 3> x = {1, 2};
    std::vector<int> want = {1, 2};
    for (int i = 3; i < 9; ++i) {
        EXPECT_EQ(x.size(), want.size());
        EXPECT_EQ(std::vector<int>(x.begin(), x.end()), want);
        const auto copy = x;
        EXPECT_EQ(std::vector<int>(copy.begin(), copy.end()), want);
        x.push_back(i);
        want.push_back(i);
    }
    x.clear();
    EXPECT_TRUE(x.empty());
    x.append(want);
    EXPECT_EQ(std::vector<int>(x.begin(), x.end()), want);
    x = {7};
    EXPECT_EQ(x.size(), std::size_t{1});
    EXPECT_EQ(*x.data(), 7);
}

}  // namespace
}  // namespace attenta_test
