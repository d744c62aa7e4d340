// Rotary positions in double precision.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace attenta_test {

/// Pairs (m, m + D/2) turned by position · base^(−2m/D).
template <class T>
std::vector<double> naive_rotate(const T* x, std::int64_t dim, std::int64_t position, double base) {
    const auto half = static_cast<std::size_t>(dim / 2);
    std::vector<double> y(2 * half);
    for (std::size_t m = 0; m < half; ++m) {
        const double angle =
            static_cast<double>(position) * std::pow(base, -2 * static_cast<double>(m) / static_cast<double>(dim));
        const double a = x[m], b = x[m + half];
        y[m] = a * std::cos(angle) - b * std::sin(angle);
        y[m + half] = b * std::cos(angle) + a * std::sin(angle);
    }
    return y;
}

}  // namespace attenta_test
