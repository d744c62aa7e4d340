// Element types of K and V. Queries, outputs and all arithmetic are float.
#pragma once

#include <attenta/core/config.hpp>

#include <bit>
#include <cstdint>

ATTENTA_BEGIN

enum class Dtype : std::uint8_t {
    f32,
    bf16,
    f16,
    codes,  ///< rows of small integers with scales: core/row_codes.hpp
};
inline constexpr int dtype_count = 3;  ///< floating types

/// The value is a floating type.
constexpr bool is_dtype(Dtype t) { return static_cast<int>(t) < dtype_count; }
constexpr const char* name(Dtype t) {
    constexpr const char* names[] = {"f32", "bf16", "f16", "codes"};
    return t <= Dtype::codes ? names[static_cast<int>(t)] : "unknown";
}
/// Bytes of an element; strides of codes count bytes.
constexpr std::int64_t size_of(Dtype t) { return t == Dtype::codes ? 1 : t == Dtype::f32 ? 4 : 2; }
/// The largest finite number of the type.
constexpr float largest(Dtype t) {
    return std::bit_cast<float>(t == Dtype::f32 ? 0x7f7fffffu : t == Dtype::bf16 ? 0x7f7f0000u : 0x477fe000u);
}

/// The upper half of a float; rounded to nearest even, NaN stays NaN.
struct bfloat16 {
    std::uint16_t bits = 0;

    bfloat16() = default;
    explicit constexpr bfloat16(float x) {
        const auto u = std::bit_cast<std::uint32_t>(x);
        const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
        bits = static_cast<std::uint16_t>(nan ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
    constexpr operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
};

/// IEEE half precision; rounded to nearest even, with subnormals, infinities and NaN.
struct float16 {
    std::uint16_t bits = 0;

    float16() = default;
    explicit constexpr float16(float x) {
        const auto u = std::bit_cast<std::uint32_t>(x);
        const std::uint32_t sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
        std::uint32_t h = 0;
        if (a > 0x7f800000u) {
            h = 0x7e00u;
        } else if (a >= 0x477ff000u) {  // 65520 and above round to infinity
            h = 0x7c00u;
        } else if (a < 0x38800000u) {  // subnormal: let a float addition round
            h = std::bit_cast<std::uint32_t>(std::bit_cast<float>(a) + 0.5f) - 0x3f000000u;
        } else {
            h = (a + 0xfffu + ((a >> 13) & 1u) - 0x38000000u) >> 13;
        }
        bits = static_cast<std::uint16_t>(sign | h);
    }
    constexpr operator float() const {
        const std::uint32_t sign = (bits & 0x8000u) << 16, a = bits & 0x7fffu;
        float x = 0;
        if (a >= 0x7c00u) {
            x = std::bit_cast<float>((a << 13) | 0x7f800000u);
        } else if (a < 0x400u) {
            x = static_cast<float>(a) * 0x1p-24f;
        } else {
            x = std::bit_cast<float>((a << 13) + 0x38000000u);
        }
        return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) | sign);
    }
};

template <class T>
inline constexpr Dtype dtype_of = T::no_such_dtype;
template <>
inline constexpr Dtype dtype_of<float> = Dtype::f32;
template <>
inline constexpr Dtype dtype_of<bfloat16> = Dtype::bf16;
template <>
inline constexpr Dtype dtype_of<float16> = Dtype::f16;

ATTENTA_END
