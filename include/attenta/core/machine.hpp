// What the machine tells about itself. What follows from it stands in engine/common/tuning.hpp.
#pragma once

#include <attenta/core/config.hpp>

#include <cstdint>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#include <cpuid.h>
#endif

ATTENTA_BEGIN

/// Bytes of a core's second cache; one megabyte where nobody knows.
inline std::int64_t l2_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    static const std::int64_t bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (bytes > 0) return bytes;
#endif
    return 1 << 20;
}

enum class Vendor : std::uint8_t { other, intel, amd };

/// A processor's maker, and the maker's number of its family: AMD's 0x19 is Zen 3 and 4, 0x1a is Zen 5.
struct Processor {
    Vendor vendor = Vendor::other;
    unsigned family = 0;
};

inline Processor this_processor() {
    Processor p;
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_cpu_init();
    if (__builtin_cpu_is("intel")) p.vendor = Vendor::intel;
    if (__builtin_cpu_is("amd")) p.vendor = Vendor::amd;
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) != 0) p.family = (a >> 8 & 0xf) + (a >> 20 & 0xff);
#endif
    return p;
}

ATTENTA_END
