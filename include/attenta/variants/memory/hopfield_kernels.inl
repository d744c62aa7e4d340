#pragma once

#include <attenta/simd/score_rows.hpp>
#include <attenta/variants/memory/hopfield_kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// exp(s − max), and the factor that makes weights of it.
template <class Arch>
struct ScoreWeights {
    using B = simd::Batch<Arch>;
    B max, factor;

    ScoreWeights(const float* s, std::int64_t n) : max(simd::row_max<Arch>(s, n)) {
        const B top = max;
        B sum(0.f);
        for (std::int64_t i = 0; i < n; i += simd::lanes<Arch>)
            sum = sum + simd::exp_weight<Arch>(simd::load<Arch>(s + i) - top);
        factor = B(1.f / simd::reduce_add<Arch>(sum));
    }
    ATTENTA_ALWAYS_INLINE B weight(B s) const { return simd::exp_weight<Arch>(s - max) * factor; }
};

template <class Arch>
float change_of_weights(const float* a, const float* b, std::int64_t n) {
    using B = simd::Batch<Arch>;
    const ScoreWeights<Arch> of_a(a, n), of_b(b, n);
    B sum(0.f);
    for (std::int64_t i = 0; i < n; i += simd::lanes<Arch>) {
        const B change = of_a.weight(simd::load<Arch>(a + i)) - of_b.weight(simd::load<Arch>(b + i));
        sum = simd::fma<Arch>(change, change, sum);
    }
    return simd::reduce_add<Arch>(sum);
}

ATTENTA_DEFINE_KERNEL(WeightChange, weight_change, &change_of_weights<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
