// Sums and products of sizes and positions that a caller gives: they stop at the ends of their type, where plain ones
// would wrap around, so that a comparison that follows still tells the truth.
#pragma once

#include <attenta/core/config.hpp>

#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace saturating {

inline constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min(),
                              most = std::numeric_limits<std::int64_t>::max();

constexpr std::int64_t add(std::int64_t a, std::int64_t b) {
    std::int64_t n = 0;
    if (!__builtin_add_overflow(a, b, &n)) return n;
    return b > 0 ? most : least;
}

/// Of sizes; one below zero counts as zero.
constexpr std::int64_t multiply(std::int64_t a, std::int64_t b) {
    std::int64_t n = 0;
    if (a <= 0 || b <= 0) return 0;
    return __builtin_mul_overflow(a, b, &n) ? most : n;
}

}  // namespace saturating

ATTENTA_END
