// Frequencies of rotary positions, and the cosines and sines of a position.
#pragma once

#include <attenta/engine/rotary/kernels.hpp>

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
    set_rotary_angles()(frequencies.data(), static_cast<std::int64_t>(frequencies.size()), position, factor,
                        interleaved, to);
}

}  // namespace rotary

ATTENTA_END
