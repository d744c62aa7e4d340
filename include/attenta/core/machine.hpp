// What the machine tells about itself.
#pragma once

#include <attenta/core/config.hpp>

#include <cstdint>

#if __has_include(<unistd.h>)
#include <unistd.h>
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

ATTENTA_END
