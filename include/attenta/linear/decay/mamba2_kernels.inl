#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/linear/decay/mamba2_kernels.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace kernels {

template <class Arch>
void skip_and_gate(float* o, const float* x, const float* skip, std::int64_t skip_stride, const float* z,
                   std::int64_t n) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    for (std::int64_t i = 0; i < n; i += L) {
        const std::int64_t here = std::min(L, n - i);
        const auto load = [&](const float* p) {
            return here == L ? simd::load<Arch>(p + i) : simd::load_part<Arch>(p + i, here);
        };
        B y = load(o);
        if (skip) y = simd::fma<Arch>(skip_stride ? load(skip) : B(*skip), load(x), y);
        if (z) {
            const B g = load(z), e = simd::exp_nonpositive<Arch>(-xsimd::abs(g));  // of large -g it would overflow
            y = simd::divide<Arch>(y * g * xsimd::select(g < B(0.f), e, B(1.f)), B(1.f) + e);
        }
        simd::store_part<Arch>(o + i, y, here);
    }
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(SkipAndGate, skip_and_gate, &kernels::skip_and_gate<simd::NativeArch>)

ATTENTA_END
