#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/linear/delta/kda_gate_kernels.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

template <class Arch>
void kda_gate_row(const float* x, const float* bias, float factor, float bound, std::int64_t n, float* y) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    const B a(factor), b(bound), minus_a(-factor);
    for (std::int64_t i = 0; i < n; i += L) {
        const std::int64_t here = std::min(L, n - i);
        const auto load = [&](const float* p) ATTENTA_FLATTEN {
            return here == L ? simd::load<Arch>(p + i) : simd::load_part<Arch>(p + i, here);
        };
        const B z = bias ? load(x) + load(bias) : load(x);
        const B g = bound < 0 ? b * simd::sigmoid<Arch>(a * z) : minus_a * simd::softplus<Arch>(z);
        if (here == L)
            g.store_unaligned(y + i);
        else
            simd::store_part<Arch>(y + i, g, here);
    }
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(KdaGateFunction, kda_gate_row, &kernels::kda_gate_row<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
