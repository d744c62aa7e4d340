#pragma once

#include <attenta/simd/score_rows.hpp>
#include <attenta/sparse/row_softmax.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

template <class Arch>
void softmax_of_row(const float* s, std::int64_t n, float scale, float* weights) {
    using B = simd::Batch<Arch>;
    const B top(simd::row_max<Arch>(s, n)), factor(scale);
    simd::map_row<Arch>(s, weights, n, [&](B x) { return simd::exp_weight<Arch>((x - top) * factor); });
    simd::scale_row<Arch>(weights, n, 1.f / simd::sum_row<Arch>(weights, n, [](B p) { return p; }));
}

ATTENTA_DEFINE_KERNEL(RowSoftmaxFunction, row_softmax, &softmax_of_row<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
