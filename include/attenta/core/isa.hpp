// Which instruction set runs the kernels.
#pragma once

#include <attenta/core/config.hpp>

#include <cstdint>

ATTENTA_BEGIN

enum class Isa : std::uint8_t { sse2, avx2, avx512, neon64 };
inline constexpr int isa_count = 4;

constexpr const char* name(Isa isa) {
    constexpr const char* names[] = {"sse2", "avx2", "avx512", "neon64"};
    return static_cast<int>(isa) < isa_count ? names[static_cast<int>(isa)] : "unknown";
}

ATTENTA_END
