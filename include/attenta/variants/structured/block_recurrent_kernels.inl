#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/simd/for_vectors.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/variants/structured/block_recurrent_kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace structured {

namespace kernels {

template <class Arch>
void gate_state_row(const GateRow& g) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    simd::for_vectors<Arch>(g.n, [&](auto&& load, auto&& store) ATTENTA_FLATTEN {
        const auto given = [&](const float* p) ATTENTA_FLATTEN { return p ? load(p) : B(0.f); };
        B z = load(g.z) + given(g.z_bias);
        if (g.tanh) z = simd::tanh<Arch>(z);
        const B forget = given(g.forget) + load(g.forget_bias) + B(g.forget_shift);
        const B input = g.input ? load(g.input) + load(g.input_bias) + B(g.input_shift) : B(0.f) - forget;
        store(g.c, load(g.c) * simd::sigmoid<Arch>(forget) + z * simd::sigmoid<Arch>(input));
    });
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(GateRowFunction, gate_state_row, &kernels::gate_state_row<simd::NativeArch>)

}  // namespace structured

ATTENTA_END
