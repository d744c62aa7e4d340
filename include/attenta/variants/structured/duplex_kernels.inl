#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/variants/structured/duplex_kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace structured {

namespace kernels {

template <class Arch>
void fuse_key_row(const float* k, const float* ratio, std::int64_t n, float* f) {
    const FlushToZero flush;
    simd::multiply_row<Arch>(f, ratio, n);
    simd::add_row<Arch>(f, k, n, 1.f);
}

template <class Arch>
void scale_output_row(float* x, std::int64_t n, float factor) {
    const FlushToZero flush;
    simd::scale_row<Arch>(x, n, factor);
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(FuseKeyRow, fuse_key_row, &kernels::fuse_key_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(ScaleRow, scale_output_row, &kernels::scale_output_row<simd::NativeArch>)

}  // namespace structured

ATTENTA_END
