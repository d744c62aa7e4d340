// Which row of tuning a processor takes.
#include <attenta/engine/common/tuning.hpp>

#include <gtest/gtest.h>

namespace attenta_test {
namespace {

TEST(Tuning, IsChosenByTheProcessor) {
    using attenta::tuning_of, attenta::Vendor;
    EXPECT_STREQ(tuning_of({}).name, "generic");
    EXPECT_STREQ(tuning_of({Vendor::intel, 6}).name, "intel");
    EXPECT_STREQ(tuning_of({Vendor::amd, 0x17}).name, "generic");
    EXPECT_STREQ(tuning_of({Vendor::amd, 0x19}).name, "zen4");
    EXPECT_STREQ(tuning_of({Vendor::amd, 0x1a}).name, "zen5");
    EXPECT_STREQ(tuning_of({Vendor::amd, 0x1b}).name, "zen5") << "what comes next is most like the last";
    EXPECT_STREQ(tuning_of({Vendor::other, 0x1a}).name, "generic");
}

}  // namespace
}  // namespace attenta_test
