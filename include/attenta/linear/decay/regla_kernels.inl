#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/linear/decay/regla_kernels.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace detail::kernels {

/// sigmoid(x) and 1 − sigmoid(x), with all digits both.
template <class Arch>
ATTENTA_ALWAYS_INLINE void sigmoids(simd::Batch<Arch> x, simd::Batch<Arch>& kept, simd::Batch<Arch>& lost) {
    using B = simd::Batch<Arch>;
    const B e = simd::exp_nonpositive<Arch>(-xsimd::abs(x)), large = simd::divide<Arch>(B(1.f), B(1.f) + e),
            small = e * large;
    const auto negative = x < B(0.f);
    kept = xsimd::select(negative, small, large);
    lost = xsimd::select(negative, large, small);
}

/// F = f (f + 2 r (1 − f)) and 1 − F = (1 − f) ((1 − r) (1 + f) + r (1 − f)), sums of numbers >= 0 both.
template <class Arch>
simd::Batch<Arch> refined_gate(simd::Batch<Arch> gate, simd::Batch<Arch> refine) {
    using B = simd::Batch<Arch>;
    B f, lost, r, rest;
    sigmoids<Arch>(gate, f, lost);
    sigmoids<Arch>(refine, r, rest);
    const B kept = f * simd::fma<Arch>(r + r, lost, f), less = lost * simd::fma<Arch>(rest, B(1.f) + f, r * lost);
    // Below the normal floats a gate is closed as well.
    return simd::log_with_complement<Arch>(simd::max<Arch>(B(std::numeric_limits<float>::min()), kept), less);
}

template <class Arch>
void refined_gates(const float* gate, const float* refine, std::int64_t n, float* log_gates) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    std::int64_t i = 0;
    for (; i + L <= n; i += L)
        refined_gate<Arch>(simd::load<Arch>(gate + i), simd::load<Arch>(refine + i)).store_unaligned(log_gates + i);
    if (i < n)
        simd::store_part<Arch>(
            log_gates + i,
            refined_gate<Arch>(simd::load_part<Arch>(gate + i, n - i), simd::load_part<Arch>(refine + i, n - i)),
            n - i);
}

template <class Arch>
float largest_key(Heads<const float> k, std::int64_t head, float least) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const B infinity(std::numeric_limits<float>::infinity());
    const auto taken = [&](B x, B top) ATTENTA_FLATTEN {
        return xsimd::select((x > top) & (x < infinity), x, top);  // NaN is not
    };
    B top(least);
    for (std::int64_t t = 0; t < k.tokens; ++t) {
        const float* const row = k.row(head, t);
        std::int64_t d = 0;
        for (; d + L <= k.dim; d += L) top = taken(simd::load<Arch>(row + d), top);
        for (; d < k.dim; ++d) top = taken(B(row[d]), top);
    }
    return simd::reduce_max<Arch>(top);
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(RefinedGates, refined_gates, &kernels::refined_gates<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(LargestKey, largest_key, &kernels::largest_key<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
