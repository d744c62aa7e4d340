#pragma once

#include <attenta/core/error.hpp>

#include <cstdio>
#include <cstdlib>

ATTENTA_BEGIN

ATTENTA_INLINE void fail(const char* function, const std::string& message) {
#if defined(__cpp_exceptions)
    throw Error(std::string(function) + ": " + message);
#else
    std::fprintf(stderr, "%s: %s\n", function, message.c_str());
    std::abort();
#endif
}

ATTENTA_END
