// Elementary functions of every backend, against double.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "math_kernels.hpp"

namespace attenta_test {
namespace {

using attenta::Isa;

/// Every `step`-th float of [from, to], by bits.
std::vector<float> floats(float from, float to, std::uint32_t step) {
    std::vector<float> x;
    const auto first = std::bit_cast<std::uint32_t>(from), last = std::bit_cast<std::uint32_t>(to);
    for (std::uint32_t u = first; u < last; u += step) x.push_back(std::bit_cast<float>(u));
    x.push_back(to);
    return x;
}

double ulp(double want) {
    const float f = static_cast<float>(want);
    return static_cast<double>(std::nextafter(f, std::numeric_limits<float>::infinity())) - static_cast<double>(f);
}

template <class F>
void each_isa(F&& f) {
    for (int i = 0; i < attenta::isa_count; ++i)
        if (const auto isa = static_cast<Isa>(i); attenta::is_available(isa)) {
            SCOPED_TRACE(attenta::name(isa));
            f(isa);
        }
}

/// The largest |f(x) − definition(x)| in units of unit(definition(x)), of all x times `sign`.
template <class Definition, class Unit>
double worst_error(ElementFunction f, std::vector<float> x, float sign, Definition&& definition, Unit&& unit) {
    for (float& v : x) v *= sign;
    std::vector<float> y(x.size());
    f(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double want = definition(static_cast<double>(x[i]));
        worst = std::max(worst, std::abs(static_cast<double>(y[i]) - want) / unit(want));
    }
    return worst;
}
double size(double want) { return std::abs(want); }

TEST(Simd, ExpIsWithinTwoUlp) {
    each_isa([](Isa isa) {
        for (const float sign : {1.f, -1.f})
            EXPECT_LE(worst_error(
                          exp_elements(isa), floats(1e-30f, 87.f, 97), sign, [](double x) { return std::exp(x); }, ulp),
                      2.0);
    });
}

TEST(Simd, ExpAtItsEdges) {
    constexpr float inf = std::numeric_limits<float>::infinity();
    const std::vector<float> x = {0.f,   -0.f,   inf,    -inf,  std::numeric_limits<float>::quiet_NaN(), 88.7f, 88.8f,
                                  200.f, -87.3f, -104.f, -200.f};
    each_isa([&](Isa isa) {
        std::vector<float> y(x.size());
        exp_elements(isa)(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
        EXPECT_EQ(y[0], 1.f);
        EXPECT_EQ(y[1], 1.f);
        EXPECT_EQ(y[2], inf);
        EXPECT_EQ(y[3], 0.f);
        EXPECT_TRUE(std::isnan(y[4]));
        EXPECT_NEAR(static_cast<double>(y[5]) / std::exp(static_cast<double>(x[5])), 1.0, 3e-7);
        EXPECT_EQ(y[6], inf);
        EXPECT_EQ(y[7], inf);
        EXPECT_NEAR(static_cast<double>(y[8]) / std::exp(static_cast<double>(x[8])), 1.0, 3e-7);
        EXPECT_EQ(y[9], 0.f);
        EXPECT_EQ(y[10], 0.f);
    });
}

TEST(Simd, Exp2OfNonpositiveNumbers) {
    each_isa([](Isa isa) {
        EXPECT_LE(worst_error(
                      exp2_nonpositive_elements(isa), floats(1e-30f, 125.9f, 97), -1.f,
                      [](double x) { return std::exp2(x); }, ulp),
                  2.0);

        constexpr float inf = std::numeric_limits<float>::infinity();
        const std::vector<float> edges = {0.f, -0.f, -127.f, -1e4f, -inf, std::numeric_limits<float>::quiet_NaN()};
        std::vector<float> y(edges.size());
        exp2_nonpositive_elements(isa)(edges.data(), y.data(), static_cast<std::int64_t>(edges.size()));
        EXPECT_EQ(y[0], 1.f);
        EXPECT_EQ(y[1], 1.f);
        for (const std::size_t i : {2u, 3u, 4u}) EXPECT_EQ(y[i], 0.f);
        EXPECT_TRUE(std::isnan(y[5]));
    });
}

TEST(Simd, SoftplusIsAccurate) {
    each_isa([](Isa isa) {
        for (const float sign : {1.f, -1.f})
            EXPECT_LE(worst_error(
                          softplus_elements(isa), floats(1e-20f, 87.f, 997), sign,
                          [](double x) { return std::max(x, 0.) + std::log1p(std::exp(-std::abs(x))); }, size),
                      5e-7);
    });
}

TEST(Simd, TanhIsAccurate) {
    each_isa([](Isa isa) {
        for (const float sign : {1.f, -1.f})
            EXPECT_LE(
                worst_error(
                    tanh_elements(isa), floats(1e-20f, 50.f, 997), sign, [](double x) { return std::tanh(x); }, size),
                3e-7);
    });
}

}  // namespace
}  // namespace attenta_test
