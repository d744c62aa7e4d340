// Bad input.
#pragma once

#include <attenta/core/config.hpp>

#include <stdexcept>
#include <string>

ATTENTA_BEGIN

/// Thrown for bad input, before anything is written. The message names the function, the argument, what came and what
/// was expected: `softmax_attention: k has 96 features, q has 64`.
class Error : public std::invalid_argument {
public:
    using std::invalid_argument::invalid_argument;
};

/// Throws Error("function: message"); where exceptions are switched off (headers mode) prints that and aborts.
[[noreturn]] void fail(const char* function, const std::string& message);

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/core/error.inl>
#endif
