#pragma once

#include <attenta/engine/score/own_edit.hpp>
#include <attenta/variants/local_weights.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// ½ (1 + erf x), absolute error below 2e-7. Abramowitz and Stegun 1964, 7.1.26.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> normal_share(simd::Batch<Arch> x) {
    using B = simd::Batch<Arch>;
    const B a = xsimd::abs(x), t = simd::divide<Arch>(B(1.f), simd::fma<Arch>(a, B(0.3275911f), B(1.f)));
    B p = simd::fma<Arch>(t, B(1.061405429f), B(-1.453152027f));
    p = simd::fma<Arch>(p, t, B(1.421413741f));
    p = simd::fma<Arch>(p, t, B(-0.284496736f));
    p = simd::fma<Arch>(p, t, B(0.254829592f)) * t;
    const B rest = B(0.5f) * p * simd::exp_nonpositive<Arch>(-(a * a));
    return xsimd::select(x < B(0.f), rest, B(1.f) - rest);
}

}  // namespace detail

namespace edits {

template <class Arch>
void SigmoidWeights::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    if (t.rows() == 0) return;
    const B plus(of_sequence ? of_sequence[t.row(0).sequence] : bias);
    t.map([&](B s) ATTENTA_FLATTEN { return simd::sigmoid<Arch>(s + plus); });
}

template <class Arch>
void ReluWeights::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    const auto positive = [](B s) ATTENTA_FLATTEN { return xsimd::select(s < B(0.f), B(0.f), s); };
    if (squared)
        t.map([&](B s) ATTENTA_FLATTEN {
            const B x = positive(s);
            return x * x;
        });
    else
        t.map(positive);
}

template <class Arch>
void LaplaceWeights::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    const B minus(mean), factor(1.f / (deviation * 1.41421356f));
    t.map([&](B s) ATTENTA_FLATTEN { return detail::normal_share<Arch>((s - minus) * factor); });
}

template <class Arch>
void QueryGain::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const B factor(gain[t.row(r).head * queries + t.row(r).index]);
        float* const s = t.raw().s + r * t.raw().stride;
        simd::map_row<Arch>(s, s, t.raw().keys.count, [&](B x) ATTENTA_FLATTEN { return x * factor; });
    }
}

ATTENTA_DEFINE_EDIT(SigmoidWeights)
ATTENTA_DEFINE_EDIT(ReluWeights)
ATTENTA_DEFINE_EDIT(LaplaceWeights)
ATTENTA_DEFINE_EDIT(QueryGain)

}  // namespace edits

ATTENTA_END
