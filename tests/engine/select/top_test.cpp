// The best of a row: exact, ascending, ties to the lower index, whatever the row looks like.
#include <attenta/attenta.hpp>
#include <attenta/engine/select/kernels.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "support/isas.hpp"
#include "support/random.hpp"

namespace attenta_test {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

std::vector<std::int32_t> naive_top(const std::vector<float>& x, std::int64_t top) {
    std::vector<std::int32_t> order(x.size());
    std::iota(order.begin(), order.end(), 0);
    const auto at = [&](std::int32_t i) { return x[static_cast<std::size_t>(i)]; };
    std::erase_if(order, [&](std::int32_t i) { return !(at(i) > -infinity); });
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return at(a) > at(b); });
    order.resize(std::min(order.size(), static_cast<std::size_t>(top)));
    std::sort(order.begin(), order.end());
    return order;
}

void expect_top(const std::vector<float>& x, std::int64_t top) {
    const auto n = static_cast<std::int64_t>(x.size());
    std::vector<std::int32_t> got(static_cast<std::size_t>(std::min(n, top))), scratch(2 * x.size());
    for (const attenta::Isa isa : available_isas()) {
        const std::int64_t count = attenta::select::top_of_row(isa)(x.data(), n, top, got.data(), scratch.data());
        EXPECT_EQ(std::vector<std::int32_t>(got.begin(), got.begin() + count), naive_top(x, top))
            << n << " numbers, top " << top << ", " << name(isa);
    }
}

TEST(SelectTop, IsThatOfASort) {
    Random random(1);
    for (const std::int64_t n : {1, 2, 7, 8, 9, 100, 4095, 4096, 5000, 20000})
        for (const std::int64_t top :
             {std::int64_t{1}, std::int64_t{3}, std::int64_t{50}, n / 50 + 1, n / 3 + 1, n, n + 5})
            expect_top(random.normals(n), top);
}

TEST(SelectTop, OfRowsThatAreHard) {
    Random random(2);
    const std::size_t n = 9000;
    std::vector<float> equal(n, 0.f), few(n, 0.f), steps(n), rising(n), falling(n), holes = random.normals(9000);
    for (std::size_t i = 0; i < n; ++i) {
        if (i % 600 == 5) few[i] = 1;
        steps[i] = static_cast<float>(random.integer(0, 3));
        rising[i] = static_cast<float>(i);
        falling[i] = -static_cast<float>(i);
        if (random.chance(0.4)) holes[i] = random.chance(0.5) ? -infinity : std::numeric_limits<float>::quiet_NaN();
    }
    // A sample that sees no peak, and one that sees all of them.
    std::vector<float> hidden(n, -1.f), shown(n, -1.f);
    for (std::size_t i = 0; i < n; ++i) {
        if (i % 9 == 4) hidden[i] = static_cast<float>(i % 97);
        if (i * 1024 / n != (i + 1) * 1024 / n) shown[i] = 5;
    }
    for (const auto& row : {equal, few, steps, rising, falling, holes, hidden, shown})
        for (const std::int64_t top : {1, 20, 180, 2000, 8999}) expect_top(row, top);
}

TEST(SelectTop, OfNothing) {
    expect_top({}, 3);
    expect_top({-infinity, -infinity}, 2);
    expect_top({infinity, 1, infinity}, 2);
}

}  // namespace
}  // namespace attenta_test
