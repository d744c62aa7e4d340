#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace structured {

/// f ← k + ratio ⊙ f
using FuseKeyRow = void (*)(const float* k, const float* ratio, std::int64_t n, float* f);
ATTENTA_DECLARE_KERNEL(FuseKeyRow, fuse_key_row)

/// x ← factor · x
using ScaleRow = void (*)(float* x, std::int64_t n, float factor);
ATTENTA_DECLARE_KERNEL(ScaleRow, scale_output_row)

}  // namespace structured

ATTENTA_END
