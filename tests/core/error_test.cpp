// Errors.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <stdexcept>

namespace attenta_test {
namespace {

TEST(Errors, AreInvalidArgumentsThatNameTheFunction) {
    try {
        attenta::fail("quest_attention", "budget is 40, needs at least one page (page = 64)");
    } catch (const std::invalid_argument& e) {
        EXPECT_STREQ(e.what(), "quest_attention: budget is 40, needs at least one page (page = 64)");
    }
}

}  // namespace
}  // namespace attenta_test
