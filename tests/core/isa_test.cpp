// The choice of an instruction set.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

TEST(Isas, NamesAreReadBack) {
    for (int i = 0; i < attenta::isa_count; ++i) {
        const auto isa = static_cast<attenta::Isa>(i);
        EXPECT_EQ(attenta::isa_named(attenta::name(isa)), isa);
    }
    EXPECT_FALSE(attenta::isa_named("mmx"));
    EXPECT_FALSE(attenta::isa_named(""));
}

TEST(Isas, NumbersOfNoneAreNotAvailable) {
    const auto isa = static_cast<attenta::Isa>(7);
    EXPECT_STREQ(attenta::name(isa), "unknown");
    EXPECT_FALSE(attenta::is_compiled(isa));
    EXPECT_FALSE(attenta::is_available(isa));
    EXPECT_TRUE(refuses([&] { attenta::set_isa(isa); }, {"set_isa", "unknown"}));
}

TEST(Isas, TheActiveOneIsAvailable) {
    EXPECT_TRUE(attenta::is_available(attenta::active_isa()));
    EXPECT_FALSE(available_isas().empty());
}

TEST(Isas, OnlyAvailableOnesCanBeChosen) {
    for (int i = 0; i < attenta::isa_count; ++i) {
        const auto isa = static_cast<attenta::Isa>(i);
        if (attenta::is_available(isa)) {
            EXPECT_TRUE(attenta::is_compiled(isa));
            const IsaScope scope(isa);
            EXPECT_EQ(attenta::active_isa(), isa);
        } else {
            EXPECT_TRUE(refuses([&] { attenta::set_isa(isa); }, {"set_isa", attenta::name(isa)}));
        }
    }
}

}  // namespace
}  // namespace attenta_test
