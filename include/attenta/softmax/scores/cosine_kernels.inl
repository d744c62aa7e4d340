#pragma once

#include <attenta/simd/score_rows.hpp>
#include <attenta/softmax/row_norms_kernels.inl>
#include <attenta/softmax/scores/cosine_kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

template <class Arch>
float fold(const float* x, std::int64_t dim, VectorNorm norm, float eps, const CosineWeights& w, float* y) {
    using B = simd::Batch<Arch>;
    normalize<Arch>(x, dim, norm, eps, w.query, w.query_bias, y);
    const float shift = w.key_bias ? simd::sum_products<Arch>(y, w.key_bias, dim) : 0.f;
    if (w.key) simd::multiply_row<Arch>(y, w.key, dim);
    if (norm == VectorNorm::layer) {
        const float sum = sum_elements<Arch>(y, dim, [](B v) ATTENTA_FLATTEN { return v; });
        const B mean(sum / static_cast<float>(dim));
        simd::map_row<Arch>(y, y, dim, [&](B v) ATTENTA_FLATTEN { return v - mean; });
    }
    return shift;
}

ATTENTA_DEFINE_KERNEL(FoldQuery, fold_query, &fold<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
