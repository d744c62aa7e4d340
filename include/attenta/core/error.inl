#pragma once

#include <attenta/core/error.hpp>

#include <cstdlib>

ATTENTA_BEGIN

ATTENTA_INLINE void fail(const char* function, const std::string& message) {
#if defined(__cpp_exceptions)
    throw Error(std::string(function) + ": " + message);
#else
    static_cast<void>(function);
    static_cast<void>(message);
    std::abort();
#endif
}

ATTENTA_END
