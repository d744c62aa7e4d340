#pragma once

#include <attenta/engine/score/own_edit.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/variants/locations/kernels.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace locations {

template <class Arch>
void GaussianFactor::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    const KeyPositions<Arch> keys(t.raw().keys);
    const B minus_rate(-rate);
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const std::int64_t at = t.row(r).head * queries + t.row(r).index;
        const auto from = keys.from(centre[at]);
        const B rest(fraction[at]);
        float* const s = t.raw().s + r * t.raw().stride;
        for (std::int64_t i = 0; i < t.raw().keys.count; i += simd::lanes<Arch>) {
            const B distance = keys.distances(from, i) + rest;
            (simd::load<Arch>(s + i) * simd::exp_nonpositive<Arch>(minus_rate * distance * distance))
                .store_unaligned(s + i);
        }
    }
}

namespace kernels {

template <class Arch>
GaussianSums gaussian_weights(const GaussianKeys& x, float* to) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    float places[static_cast<std::size_t>(L)];
    for (std::int64_t i = 0; i < L; ++i) places[i] = static_cast<float>(i);
    const B first = simd::load<Arch>(places), nearest(x.nearest), minus_rate(-x.rate),
            shift(x.nearest - 2.f * x.centre), zero(0.f);
    B weights(0.f), moments(0.f);
    for (std::int64_t t = 0; t < x.count; t += L) {
        // A difference of squares as a product: a centre far away leaves it its digits.
        const B place = first + B(static_cast<float>(t)), exponent = (place - nearest) * (place + shift) * minus_rate;
        B weight = simd::exp_nonpositive<Arch>(simd::min<Arch>(zero, exponent));
        weight = xsimd::select(place < B(static_cast<float>(x.count)), weight, zero);
        simd::store_part<Arch>(to + t, weight, std::min(L, x.count - t));
        weights = weights + weight;
        moments = simd::fma<Arch>(place, weight, moments);
    }
    return {simd::reduce_add<Arch>(weights), simd::reduce_add<Arch>(moments)};
}

template <class Arch>
void add_weighted_rows(const WeightedRows& x, float* o) {
    if (x.keep == 0.f)
        std::fill_n(o, x.dim, 0.f);
    else
        simd::scale_row<Arch>(o, x.dim, x.keep);
    for (std::int64_t t = 0; t < x.count; ++t)
        simd::add_row<Arch>(o, x.v + t * x.stride, x.dim, x.factor * x.weights[t]);
}

}  // namespace kernels

ATTENTA_DEFINE_EDIT(GaussianFactor)
ATTENTA_DEFINE_KERNEL(GaussianWeights, gaussian_weights, &kernels::gaussian_weights<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(AddWeightedRows, add_weighted_rows, &kernels::add_weighted_rows<simd::NativeArch>)

}  // namespace locations

ATTENTA_END
