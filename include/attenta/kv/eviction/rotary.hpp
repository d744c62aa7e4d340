// Rotary positions as eviction needs them, in the halves layout. Su et al. 2021.
#pragma once

#include <attenta/core/config.hpp>

#include <cmath>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace eviction {

/// Pairs (m, m + D/2) turn by t·θ_m, θ_m = base^(−2m/D): (a, b) → (a cos − b sin, b cos + a sin). Angles are formed in double.
class Rotary {
public:
    Rotary() = default;
    Rotary(std::int64_t dim, double base) : frequencies_(static_cast<std::size_t>(dim / 2)) {
        for (std::size_t m = 0; m < frequencies_.size(); ++m)
            frequencies_[m] = std::pow(base, -2 * static_cast<double>(m) / static_cast<double>(dim));
        cosines_.resize(frequencies_.size());
        sines_.resize(frequencies_.size());
    }

    /// From now on rows turn by the mean rotation of positions first, …, first + count − 1, by that of its middle position
    /// times sin(count·θ/2) / (count·sin(θ/2)).
    void set(std::int64_t first, std::int64_t count = 1) {
        const auto n = static_cast<double>(count);
        for (std::size_t m = 0; m < frequencies_.size(); ++m) {
            const double half = frequencies_[m] / 2, sine = n * std::sin(half);
            const double length = sine == 0 || count == 1 ? 1 : std::sin(n * half) / sine;
            const double angle = (2 * static_cast<double>(first) + n - 1) * half;
            cosines_[m] = static_cast<float>(length * std::cos(angle));
            sines_[m] = static_cast<float>(length * std::sin(angle));
        }
    }
    /// A row of D numbers; `to` is not x.
    void turn(const float* x, float* to) const {
        const std::size_t half = frequencies_.size();
        for (std::size_t m = 0; m < half; ++m) {
            to[m] = x[m] * cosines_[m] - x[m + half] * sines_[m];
            to[m + half] = x[m + half] * cosines_[m] + x[m] * sines_[m];
        }
    }

private:
    std::vector<double> frequencies_;
    std::vector<float> cosines_, sines_;
};

}  // namespace eviction

ATTENTA_END
