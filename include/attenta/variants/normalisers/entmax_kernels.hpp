#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// A row of n scores, a multiple of 16, −inf where a key is hidden, becomes its weights. Returns the threshold of the scores
/// themselves, τ/(α − 1). `scratch`: n floats.
using EntmaxRow = float (*)(float* s, std::int64_t n, float alpha, float* scratch);
ATTENTA_DECLARE_KERNEL(EntmaxRow, entmax_row)

}  // namespace detail

ATTENTA_END
