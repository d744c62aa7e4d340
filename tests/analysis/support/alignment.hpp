// Centred kernel alignment, as definitions have it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <optional>
#include <vector>

#include "analysis/support/layers.hpp"

namespace attenta_test {

inline Square centred(const Square& k) {
    const std::int64_t n = k.size();
    Square c(n);
    for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < n; ++j) c(i, j) = (i == j ? 1 : 0) - 1 / static_cast<double>(n);
    return c * k * c;
}

inline double inner(const Square& a, const Square& b) {
    return std::inner_product(a.numbers().begin(), a.numbers().end(), b.numbers().begin(), 0.0);
}

inline double align(const Square& k, const Square& l) {
    const Square a = centred(k), b = centred(l);
    return inner(a, b) / (std::sqrt(inner(a, a) * inner(b, b)) + 1e-10);
}

/// Of squared distances; without a width that of the lower median of those above 0.
inline Square gaussian_of(Square d, std::optional<double> sigma = {}) {
    std::vector<double> positive;
    std::copy_if(d.numbers().begin(), d.numbers().end(), std::back_inserter(positive), [](double x) { return x > 0; });
    std::sort(positive.begin(), positive.end());
    const double variance = sigma ? *sigma * *sigma : positive[(positive.size() - 1) / 2];
    for (std::int64_t i = 0; i < d.size(); ++i)
        for (std::int64_t j = 0; j < d.size(); ++j) d(i, j) = std::exp(-d(i, j) / (2 * variance));
    return d;
}

}  // namespace attenta_test
