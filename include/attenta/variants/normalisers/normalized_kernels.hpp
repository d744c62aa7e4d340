#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// A row of n scores, a multiple of 16, −inf where a key is hidden, becomes gain (s − mean) / den + bias, 0 where hidden; den is
/// √variance + eps, or √(variance + eps).
using StandardiseRow = void (*)(float* s, std::int64_t n, float eps, bool of_variance, float gain, float bias);
ATTENTA_DECLARE_KERNEL(StandardiseRow, standardise_row)

}  // namespace detail

ATTENTA_END
