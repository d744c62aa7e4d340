#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/linear/row_norm.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

/// Mean of f over the rows of all heads.
template <class Arch, class F>
float mean(Heads<float> o, F&& f) {
    float sum = 0;
    for (std::int64_t h = 0; h < o.heads; ++h) sum += simd::sum_row<Arch>(o.row(h, 0), o.dim, f);
    return sum / static_cast<float>(o.heads * o.dim);
}

template <class Arch>
void norm_row(Heads<float> o, Heads<const float> u, RowNorm norm, RowGate gate, float eps) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    float factor = 1;
    if (norm == RowNorm::layer) {
        const float average = mean<Arch>(o, [](B x) ATTENTA_FLATTEN { return x; });
        for (std::int64_t h = 0; h < o.heads; ++h)
            simd::map_row<Arch>(o.row(h, 0), o.row(h, 0), o.dim, [&](B x) ATTENTA_FLATTEN { return x - B(average); });
    }
    if (norm != RowNorm::none) factor = 1.f / std::sqrt(mean<Arch>(o, [](B x) ATTENTA_FLATTEN { return x * x; }) + eps);
    for (std::int64_t h = 0; h < o.heads; ++h) {
        if (u.data && gate == RowGate::sigmoid)
            simd::multiply_row_by<Arch>(o.row(h, 0), u.row(h, 0), o.dim,
                                        [&](B g) ATTENTA_FLATTEN { return simd::sigmoid<Arch>(g) * B(factor); });
        else if (u.data)
            simd::multiply_row_by<Arch>(o.row(h, 0), u.row(h, 0), o.dim,
                                        [&](B g) ATTENTA_FLATTEN { return g * B(factor); });
        else
            simd::scale_row<Arch>(o.row(h, 0), o.dim, factor);
    }
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(NormRow, norm_row, &kernels::norm_row<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
