#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// The largest of n numbers.
using LargestOf = float (*)(const float* x, std::int64_t n);
ATTENTA_DECLARE_KERNEL(LargestOf, largest_of)

/// to = Σ_r weight[r] · x[r · stride ..], n numbers.
using MixRows = void (*)(const float* x, std::int64_t stride, std::int64_t rows, const float* weight, std::int64_t n,
                         float* to);
ATTENTA_DECLARE_KERNEL(MixRows, mix_rows)

}  // namespace detail

ATTENTA_END
