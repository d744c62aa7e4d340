// A mask against its meaning on every tile of a small sequence.
#pragma once

#include <attenta/engine/mask/mask.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

namespace attenta_test {

struct MaskClaims {
    bool cover = true, hull = true;  ///< are as tight as they can be, not only true
};

/// Rows at the positions from `first` to keys - 1 of `head`; sees(i, j).
inline void expect_exact(const attenta::Mask& mask, std::int64_t first, std::int64_t keys,
                         const std::function<bool(std::int64_t, std::int64_t)>& sees, MaskClaims tight = {},
                         int head = 0) {
    using attenta::Cover, attenta::KeyBlock, attenta::QueryRow;
    const std::int64_t rows = keys - first;
    const auto row_at = [&](std::int64_t r) { return QueryRow{head, r, first + r, 0}; };
    // sums[r][j]: pairs that are seen of rows before r and keys before j.
    std::vector<std::vector<std::int64_t>> sums(static_cast<std::size_t>(rows + 1),
                                                std::vector<std::int64_t>(static_cast<std::size_t>(keys + 1)));
    const auto sum = [&](std::int64_t r, std::int64_t j) -> std::int64_t& {
        return sums[static_cast<std::size_t>(r)][static_cast<std::size_t>(j)];
    };
    for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t j = 0; j < keys; ++j)
            sum(r + 1, j + 1) = sum(r, j + 1) + sum(r + 1, j) - sum(r, j) + (sees(first + r, j) ? 1 : 0);
    const auto seen = [&](std::int64_t r0, std::int64_t r1, std::int64_t j0, std::int64_t j1) {
        return sum(r1, j1) - sum(r0, j1) - sum(r1, j0) + sum(r0, j0);
    };
    for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t j0 = 0; j0 < keys; j0 += 7) {
            const std::int64_t count = std::min<std::int64_t>(64, keys - j0);
            std::uint64_t word = ~std::uint64_t{0};
            mask.bits(row_at(r), {j0, count, nullptr}, &word);
            for (std::int64_t j = j0; j < j0 + count; ++j)
                ASSERT_EQ((word >> (j - j0) & 1) != 0, sees(first + r, j)) << "query " << first + r << " key " << j;
        }
    for (std::int64_t a = 0; a < rows; ++a)
        for (std::int64_t b = a; b < rows; ++b) {
            const attenta::Interval hull = attenta::intersect({0, keys}, mask.hull(row_at(a), row_at(b)));
            std::int64_t low = 0, high = keys;
            while (low < keys && seen(a, b + 1, low, low + 1) == 0) ++low;
            while (high > low && seen(a, b + 1, high - 1, high) == 0) --high;
            if (tight.hull) {
                ASSERT_EQ(hull.empty(), low == high) << "rows " << first + a << " to " << first + b;
            }
            if (low < high && tight.hull) {
                ASSERT_TRUE(hull.begin == low && hull.end == high)
                    << "rows " << first + a << " to " << first + b << " see " << low << " to " << high
                    << ", the hull is " << hull.begin << " to " << hull.end;
            } else if (low < high) {
                ASSERT_TRUE(hull.begin <= low && hull.end >= high) << "rows " << first + a << " to " << first + b;
            }
            for (std::int64_t j0 = 0; j0 < keys; ++j0)
                for (std::int64_t j1 = j0 + 1; j1 <= keys; ++j1) {
                    const std::int64_t pairs = seen(a, b + 1, j0, j1), all = (b + 1 - a) * (j1 - j0);
                    const Cover want = pairs == 0     ? Cover::none
                                       : pairs == all ? Cover::all
                                                      : Cover::some,
                                got = mask.classify(row_at(a), row_at(b), {j0, j1 - j0, nullptr});
                    ASSERT_TRUE(got == want || (!tight.cover && got == Cover::some))
                        << "rows " << first + a << " to " << first + b << ", keys " << j0 << " to " << j1 - 1 << ": "
                        << static_cast<int>(got) << ", expected " << static_cast<int>(want);
                }
        }
}

}  // namespace attenta_test
