// Element types.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "support/random.hpp"

namespace attenta_test {
namespace {

using attenta::bfloat16;
using attenta::float16;

/// The nearest number with `digits` binary digits after the first and exponents from `least`; ties go to even.
double rounded(double x, int digits, int least) {
    if (x == 0 || std::isinf(x)) return x;
    const double quantum = std::ldexp(1.0, std::max(std::ilogb(x), least) - digits);
    return std::nearbyint(x / quantum) * quantum;
}

float rounded_to_half(float x) {
    const double r = rounded(double{x}, 10, -14);
    return std::abs(r) >= 65536 ? std::copysign(std::numeric_limits<float>::infinity(), x) : static_cast<float>(r);
}

float rounded_to_bfloat(float x) {
    const double r = rounded(double{x}, 7, -126);
    return std::abs(r) >= 0x1p128 ? std::copysign(std::numeric_limits<float>::infinity(), x) : static_cast<float>(r);
}

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

void expect_rounding(float x) {
    ASSERT_EQ(bits(static_cast<float>(float16(x))), bits(rounded_to_half(x))) << x;
    ASSERT_EQ(bits(static_cast<float>(bfloat16(x))), bits(rounded_to_bfloat(x))) << x;
}

/// The value of a half, from its fields.
double half_value(std::uint32_t h) {
    const int exponent = static_cast<int>((h >> 10) & 31u), fraction = static_cast<int>(h & 1023u);
    const double magnitude = exponent == 31  ? std::numeric_limits<double>::infinity()
                             : exponent == 0 ? std::ldexp(fraction, -24)
                                             : std::ldexp(1024 + fraction, exponent - 25);
    return h & 0x8000u ? -magnitude : magnitude;
}

TEST(Dtypes, EveryHalfSurvivesTheWayToFloatAndBack) {
    for (std::uint32_t h = 0; h < 65536; ++h) {
        float16 x;
        x.bits = static_cast<std::uint16_t>(h);
        const float f = x;
        if ((h & 0x7fffu) > 0x7c00u) {
            ASSERT_TRUE(std::isnan(f) && std::isnan(static_cast<float>(float16(f)))) << h;
        } else {
            ASSERT_EQ(double{f}, half_value(h)) << h;
            ASSERT_EQ(float16(f).bits, h);
        }
    }
}

TEST(Dtypes, EveryBfloatSurvivesTheWayToFloatAndBack) {
    for (std::uint32_t h = 0; h < 65536; ++h) {
        bfloat16 x;
        x.bits = static_cast<std::uint16_t>(h);
        const float f = x;
        if ((h & 0x7fffu) > 0x7f80u) {
            ASSERT_TRUE(std::isnan(f) && std::isnan(static_cast<float>(bfloat16(f)))) << h;
        } else {
            ASSERT_EQ(bits(f), h << 16);
            ASSERT_EQ(bfloat16(f).bits, h);
        }
    }
}

TEST(Dtypes, FloatsRoundToTheNearestWithTiesToEven) {
    Random random(1);
    for (int i = 0; i < 300000; ++i) {
        const float any = std::bit_cast<float>(static_cast<std::uint32_t>(random.bits()));
        if (!std::isnan(any)) expect_rounding(any);
        expect_rounding(random.normal() * 1000);
        expect_rounding(random.normal() * 1e-6f);
    }
}

/// At each half, halfway to the next and one step beside that.
TEST(Dtypes, FloatsAtTheEdgesOfRoundingRoundRight) {
    for (std::uint32_t h = 0; h < 0x7c00u; ++h) {
        const float low = static_cast<float>(half_value(h)),
                    high = h == 0x7bffu ? 65536.0f : static_cast<float>(half_value(h + 1));
        const float middle = low / 2 + high / 2;
        for (const float x : {low, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e6f)})
            expect_rounding(x), expect_rounding(-x);
    }
    for (std::uint32_t h = 0; h < 0x7f80u; ++h)
        for (const std::uint32_t low : {0x7fffu, 0x8000u, 0x8001u})
            expect_rounding(std::bit_cast<float>((h << 16) | low));
}

TEST(Dtypes, InfinityAndNanStayWhatTheyAre) {
    const float infinity = std::numeric_limits<float>::infinity();
    EXPECT_EQ(static_cast<float>(float16(-infinity)), -infinity);
    EXPECT_EQ(static_cast<float>(bfloat16(infinity)), infinity);
    for (const std::uint32_t nan : {0x7f800001u, 0x7fc00000u, 0xffffffffu, 0x7f80ffffu}) {
        EXPECT_TRUE(std::isnan(static_cast<float>(float16(std::bit_cast<float>(nan)))));
        EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(std::bit_cast<float>(nan)))));
    }
}

TEST(Dtypes, TheLargestNumberIsTheLastThatStaysFinite) {
    for (const float x : {attenta::largest(attenta::Dtype::f16), 65504.0f})
        EXPECT_EQ(static_cast<float>(float16(x)), x);
    const float b = attenta::largest(attenta::Dtype::bf16), up = std::numeric_limits<float>::infinity();
    EXPECT_EQ(static_cast<float>(bfloat16(b)), b);
    bfloat16 next(b);
    ++next.bits;
    EXPECT_EQ(static_cast<float>(next), up);
    EXPECT_EQ(attenta::largest(attenta::Dtype::f32), std::numeric_limits<float>::max());
}

TEST(Dtypes, NumbersOfNoDtypeHaveNoName) {
    EXPECT_FALSE(attenta::is_dtype(attenta::Dtype(4)));
    EXPECT_STREQ(attenta::name(attenta::Dtype(4)), "unknown");
    EXPECT_STREQ(attenta::name(attenta::Dtype::f16), "f16");
}

}  // namespace
}  // namespace attenta_test
