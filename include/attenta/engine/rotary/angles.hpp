// Cosines and sines of the rotations of a position. Angles are formed in double: in float those of far positions have no digits
// left.
#pragma once

#include <attenta/core/config.hpp>

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

ATTENTA_BEGIN

namespace rotary {

/// base^(−2c/R), c < R/2.
inline void set_frequencies(std::vector<double>& frequencies, std::int64_t rotated, double base) {
    frequencies.resize(static_cast<std::size_t>(rotated / 2));
    for (std::size_t c = 0; c < frequencies.size(); ++c)
        frequencies[c] = std::pow(base, -2 * static_cast<double>(c) / static_cast<double>(rotated));
}

/// `to` has 2 · frequencies numbers in the order of RotateRow: factor · cos and factor · sin of position · frequency.
inline void set_angles(std::span<const double> frequencies, double position, double factor, bool interleaved,
                       float* to) {
    const std::size_t n = frequencies.size();
    for (std::size_t c = 0; c < n; ++c) {
        const double angle = position * frequencies[c];
        to[interleaved ? 2 * c : c] = static_cast<float>(factor * std::cos(angle));
        to[interleaved ? 2 * c + 1 : c + n] = static_cast<float>(factor * std::sin(angle));
    }
}

}  // namespace rotary

ATTENTA_END
