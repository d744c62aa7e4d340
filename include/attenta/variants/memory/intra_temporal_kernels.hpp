#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Rows of n scores: s_t ← s_t − past, then past ← ln(exp past + exp s_t) of the old s_t, row by row; −inf is no past.
using TakeOffPast = void (*)(float* s, std::int64_t stride, std::int64_t rows, std::int64_t n, float* past);
ATTENTA_DECLARE_KERNEL(TakeOffPast, take_off_past)

}  // namespace detail

ATTENTA_END
