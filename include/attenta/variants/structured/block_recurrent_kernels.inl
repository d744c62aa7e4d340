#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/variants/structured/block_recurrent_kernels.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace structured {

namespace kernels {

template <class Arch>
void gate_state_row(const GateRow& g) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    for (std::int64_t i = 0; i < g.n; i += L) {
        const std::int64_t here = std::min(L, g.n - i);
        const auto load = [&](const float* p) ATTENTA_FLATTEN {
            return !p ? B(0.f) : here == L ? simd::load<Arch>(p + i) : simd::load_part<Arch>(p + i, here);
        };
        B z = load(g.z) + load(g.z_bias);
        if (g.tanh) z = simd::tanh<Arch>(z);
        const B forget = load(g.forget) + load(g.forget_bias) + B(g.forget_shift);
        const B input = g.input_bias ? load(g.input) + load(g.input_bias) + B(g.input_shift) : B(0.f) - forget;
        const B c = load(g.c) * simd::sigmoid<Arch>(forget) + z * simd::sigmoid<Arch>(input);
        if (here == L)
            c.store_unaligned(g.c + i);
        else
            simd::store_part<Arch>(g.c + i, c, here);
    }
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(GateRowFunction, gate_state_row, &kernels::gate_state_row<simd::NativeArch>)

}  // namespace structured

ATTENTA_END
