#pragma once

#include <attenta/linear/features/norm_aware_kernels.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

ATTENTA_BEGIN

namespace features::kernels {

/// Both halves of a vector's features from its numbers x and their share u of the row's length: sizes times cos and sin of
/// π/4 − a. For u > 0 that is what is left of π/4, so that the features of opposite signs, whose angles tanh brings near to
/// ±π/4, meet in numbers near 0 and not in a difference.
template <class Arch>
ATTENTA_ALWAYS_INLINE void norm_aware_vector(const NormAware& p, simd::Batch<Arch> exponent, simd::Batch<Arch> x,
                                             simd::Batch<Arch> u, simd::Batch<Arch>& first, simd::Batch<Arch>& second) {
    using B = simd::Batch<Arch>;
    constexpr float half_pi = 1.57079633f;
    const B base = xsimd::abs(p.query ? u : x);
    // The logarithm is one of normal numbers; powers of smaller ones are 0, of infinity infinite.
    const B log = simd::log_with_complement<Arch>(base, B(1.f) - base);
    const B power = xsimd::select(base > B(std::numeric_limits<float>::max()), base, simd::exp<Arch>(exponent * log));
    const B size = xsimd::select(base < B(std::numeric_limits<float>::min()), B(0.f), power);
    B small(0.f), large(1.f);
    if (p.kind == NormAware::angle_tanh) {  // π/4 (1 − tanh y) = (π/2) e^-2y / (1 + e^-2y)
        const B e = simd::exp_nonpositive<Arch>(B(-2 * p.alpha) * xsimd::abs(u));
        simd::sin_cos<Arch>(simd::divide<Arch>(B(half_pi) * e, B(1.f) + e), small, large);
    } else if (p.kind == NormAware::angle_direction) {
        simd::sin_cos<Arch>(B(half_pi / 2) - xsimd::abs(u), small, large);
    }
    // A zero has both halves the same, NaN goes to both.
    first = size * xsimd::select(x < B(0.f), small, large);
    second = size * xsimd::select(x > B(0.f), small, large);
}

/// Pairs of y become y cos + (−y_1, y_0) sin.
template <class Arch>
void turn_pairs(float* y, const float* cos, const float* sin, std::int64_t n) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    float unit[static_cast<std::size_t>(L)];
    for (std::int64_t i = 0; i < L; ++i) unit[i] = static_cast<float>(i % 2);
    const B quarter_turn = simd::load<Arch>(unit);
    const auto turned = [&](B v, B c, B s) ATTENTA_FLATTEN {
        return simd::fma<Arch>(v, c, simd::complex_product<Arch>(v, quarter_turn) * s);
    };
    std::int64_t i = 0;
    for (; i + L <= n; i += L)
        turned(simd::load<Arch>(y + i), simd::load<Arch>(cos + i), simd::load<Arch>(sin + i)).store_unaligned(y + i);
    if (const std::int64_t rest = n - i; rest > 0)
        simd::store_part<Arch>(y + i,
                               turned(simd::load_part<Arch>(y + i, rest), simd::load_part<Arch>(cos + i, rest),
                                      simd::load_part<Arch>(sin + i, rest)),
                               rest);
}

template <class Arch>
float norm_aware(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const NormAware& p = *static_cast<const NormAware*>(r.parameters);
    const std::int64_t n = r.dim;
    const float length = std::sqrt(simd::sum_products<Arch>(x, x, n));
    const B inverse(length == 0.f ? 0.f : 1.f / length);
    const B exponent(p.query ? p.power * (0.5f + std::tanh(length)) : p.power);
    for (std::int64_t i = 0; i < n; i += L) {
        const std::int64_t here = std::min(L, n - i);
        const B v = here == L ? simd::load<Arch>(x + i) : simd::load_part<Arch>(x + i, here);
        B first, second;
        norm_aware_vector<Arch>(p, exponent, v, v * inverse, first, second);
        if (here == L) {
            first.store_unaligned(y + i);
            second.store_unaligned(y + n + i);
        } else {
            simd::store_part<Arch>(y + i, first, here);
            simd::store_part<Arch>(y + n + i, second, here);
        }
    }
    if (!p.cos) return 0;
    const std::int64_t row = r.position + p.offset;
    for (float* const half : {y, y + n})
        turn_pairs<Arch>(half, p.cos + row * p.cos_stride, p.sin + row * p.sin_stride, n);
    return 0;
}

}  // namespace features::kernels

namespace features {
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, norm_aware_features, &kernels::norm_aware<simd::NativeArch>)
}

ATTENTA_END
