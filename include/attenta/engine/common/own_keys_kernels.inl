#pragma once

#include <attenta/engine/common/own_keys.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace kernels {

template <class Arch>
RowStatistics join_key(const JoiningKey& k, const float* q, const RowStatistics& row, float* o) {
    const float s = k.scale * simd::sum_products<Arch>(q, k.key, k.dim);
    if (s == -std::numeric_limits<float>::infinity()) return row;
    RowStatistics all;
    all.max = s > row.max ? s : row.max;
    const float before = row.empty() ? 0.f : row.sum * std::exp(row.max - all.max), own = std::exp(s - all.max);
    all.sum = before + own;
    if (before == 0.f)
        std::fill_n(o, k.dim_v, 0.f);
    else
        simd::scale_row<Arch>(o, k.dim_v, before / all.sum);
    simd::add_row<Arch>(o, k.value, k.dim_v, own / all.sum);
    return all;
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(JoinKey, join_key, &kernels::join_key<simd::NativeArch>)

ATTENTA_END
