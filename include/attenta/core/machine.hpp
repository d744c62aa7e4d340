// What the machine tells about itself.
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

inline bool is_intel() {
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_cpu_init();
    return __builtin_cpu_is("intel");
#else
    return false;
#endif
}

/// AMD's number of a processor's generation: 0x19 is Zen 3 and 4, 0x1a is Zen 5; 0 for others' processors.
inline unsigned amd_family() {
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    static const unsigned family = [] {
        __builtin_cpu_init();
        unsigned a = 0, b = 0, c = 0, d = 0;
        if (!__builtin_cpu_is("amd") || __get_cpuid(1, &a, &b, &c, &d) == 0) return 0u;
        return (a >> 8 & 0xf) + (a >> 20 & 0xff);
    }();
    return family;
#else
    return 0;
#endif
}

/// Prefetches into L1 serve their own prefetchers better than those into L2.
inline bool prefers_prefetch_to_l1() { return amd_family() >= 0x1a; }

ATTENTA_END
