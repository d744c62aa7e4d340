// Which instruction set runs the kernels. The choice is the only mutable state of the library.
#pragma once

#include <attenta/core/config.hpp>

#include <cstdint>
#include <optional>
#include <string_view>

ATTENTA_BEGIN

enum class Isa : std::uint8_t { sse2, avx2, avx512, neon64 };
inline constexpr int isa_count = 4;

constexpr const char* name(Isa isa) {
    constexpr const char* names[] = {"sse2", "avx2", "avx512", "neon64"};
    return static_cast<int>(isa) < isa_count ? names[static_cast<int>(isa)] : "unknown";
}

/// Compiled into this library (headers mode: the including file's instruction set alone).
bool is_compiled(Isa isa);
/// Compiled in, and this processor and operating system run it.
bool is_available(Isa isa);

/// The backend that runs the kernels. At first use the best available one, or that of the environment variable
/// ATTENTA_ISA (sse2, avx2, avx512, neon64); throws Error if that names one which is not available.
Isa active_isa();
/// Chooses for all calls and plans made from now on; throws Error if it is not available.
void set_isa(Isa isa);

/// "avx2" -> Isa::avx2; empty for an unknown name.
constexpr std::optional<Isa> isa_named(std::string_view text) {
    for (int i = 0; i < isa_count; ++i)
        if (text == name(static_cast<Isa>(i))) return static_cast<Isa>(i);
    return {};
}

/// The processor's own name, where it tells.
std::string_view processor_name();

ATTENTA_END
