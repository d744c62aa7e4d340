#pragma once

#include <attenta/simd/math.hpp>
#include <attenta/variants/memory/intra_temporal_kernels.hpp>

#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace detail {

template <class Arch>
struct PastStep {
    using B = simd::Batch<Arch>;
    B score, past;

    ATTENTA_ALWAYS_INLINE PastStep(B s, B before) {
        const auto none = before == B(-std::numeric_limits<float>::infinity());
        const B gap = s - before, less = simd::exp_nonpositive<Arch>(-xsimd::abs(gap));
        const B larger = xsimd::select(gap > B(0.f), s, before);
        score = xsimd::select(none, s, gap);
        past = xsimd::select(none, s, larger + simd::log_with_complement<Arch>(B(1.f) + less, -less));
    }
};

/// Row by row, as the scores lie in memory; the pasts of a task's keys stay in L1.
template <class Arch>
void take_off(float* s, std::int64_t stride, std::int64_t rows, std::int64_t n, float* past) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    for (std::int64_t r = 0; r < rows; ++r, s += stride) {
        std::int64_t i = 0;
        for (; i + L <= n; i += L) {
            const PastStep<Arch> step(simd::load<Arch>(s + i), simd::load<Arch>(past + i));
            step.score.store_unaligned(s + i);
            step.past.store_unaligned(past + i);
        }
        if (i == n) continue;
        const PastStep<Arch> step(simd::load_part<Arch>(s + i, n - i), simd::load_part<Arch>(past + i, n - i));
        simd::store_part<Arch>(s + i, step.score, n - i);
        simd::store_part<Arch>(past + i, step.past, n - i);
    }
}

ATTENTA_DEFINE_KERNEL(TakeOffPast, take_off_past, &take_off<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
