// What a float is, by its bits: the standard's questions are answered away in files with -ffast-math.
#pragma once

#include <attenta/core/config.hpp>

#include <bit>
#include <cstdint>

ATTENTA_BEGIN

constexpr std::uint32_t magnitude_bits(float x) { return std::bit_cast<std::uint32_t>(x) & 0x7fffffffu; }
constexpr bool is_finite(float x) { return magnitude_bits(x) < 0x7f800000u; }
constexpr bool is_nan(float x) { return magnitude_bits(x) > 0x7f800000u; }

ATTENTA_END
