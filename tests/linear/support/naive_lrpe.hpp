// Features of LRPE, for lrpe and transnormer.
#pragma once

#include <cmath>
#include <cstdint>

#include "naive.hpp"

namespace attenta_test {

/// [x cos(θ p), x sin(θ p)]
inline Row naive_turned(const Row& x, const float* theta, std::int64_t position) {
    Row y(2 * x.size());
    for (std::size_t d = 0; d < x.size(); ++d) {
        const double angle = double{theta[d]} * static_cast<double>(position);
        y[d] = x[d] * std::cos(angle);
        y[d + x.size()] = x[d] * std::sin(angle);
    }
    return y;
}

}  // namespace attenta_test
