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
float join_key(const float* q, const float* k, std::int64_t dim, float scale, const float* v, std::int64_t dim_v,
               float* o, float lse) {
    constexpr float nothing = -std::numeric_limits<float>::infinity();
    const float score = scale * simd::sum_products<Arch>(q, k, dim);
    if (score == nothing) return lse;
    if (lse == nothing) {
        std::copy_n(v, dim_v, o);
        return score;
    }
    const float most = std::max(score, lse), before = std::exp(lse - most), now = std::exp(score - most),
                sum = before + now;
    simd::scale_row<Arch>(o, dim_v, before / sum);
    simd::add_row<Arch>(o, v, dim_v, now / sum);
    return most + std::log(sum);
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(JoinKeyFunction, join_key, &kernels::join_key<simd::NativeArch>)

ATTENTA_END
