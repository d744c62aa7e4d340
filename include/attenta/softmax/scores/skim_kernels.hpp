#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// to = Σ rows[i], n numbers.
using SumRows = void (*)(const float* const* rows, std::int64_t count, std::int64_t n, float* to);
ATTENTA_DECLARE_KERNEL(SumRows, sum_rows)

/// to = x where `seen`, else −inf.
using HideKeys = void (*)(const float* x, const bool* seen, std::int64_t n, float* to);
ATTENTA_DECLARE_KERNEL(HideKeys, hide_keys)

}  // namespace detail

ATTENTA_END
