#pragma once

#include <attenta/simd/score_rows.hpp>
#include <attenta/variants/row_kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

template <class Arch>
void divide_elements(float* y, std::int64_t n, float divisor) {
    using B = simd::Batch<Arch>;
    const B d(divisor);
    simd::map_row<Arch>(y, y, n, [&](B x) ATTENTA_FLATTEN { return simd::divide<Arch>(x, d); });
}

template <class Arch>
float sum_of_squares(const float* x, std::int64_t n) {
    return simd::sum_products<Arch>(x, x, n);
}

ATTENTA_DEFINE_KERNEL(DivideRow, divide_row, &divide_elements<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(SumSquares, sum_squares, &sum_of_squares<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
