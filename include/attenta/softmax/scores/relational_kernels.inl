#pragma once

#include <attenta/engine/score/own_edit.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/softmax/scores/relational_kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

template <class Arch>
void activate_relations(float* x, std::int64_t n, int activation) {
    using B = simd::Batch<Arch>;
    const auto map = [&](auto&& f) { simd::map_row<Arch>(x, x, n, f); };
    switch (activation) {
        case 1:
            return map([](B v) ATTENTA_FLATTEN { return simd::max<Arch>(B(0.f), v); });
        case 2:
            return map([](B v) ATTENTA_FLATTEN { return simd::sigmoid<Arch>(v); });
        case 3:
            return map([](B v) ATTENTA_FLATTEN { return simd::tanh<Arch>(v); });
        case 4:
            return map([](B v) ATTENTA_FLATTEN {
                const B inner = B(0.7978845608f) * simd::fma<Arch>(B(0.044715f) * v * v, v, v);
                return B(0.5f) * v * (B(1.f) + simd::tanh<Arch>(inner));
            });
        case 5:
            return map([](B v) ATTENTA_FLATTEN { return simd::silu<Arch>(v); });
        default:
            return;
    }
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(ActivateRow, activate_relations, &kernels::activate_relations<simd::NativeArch>)

}  // namespace detail

namespace edits {

template <class Arch>
void WeightedRelations::operator()(Tile<Arch> t) const {
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const QueryRow& row = t.row(r);
        float* const to = sums + (row.head * queries + row.index) * count;
        const float* const w = t.raw().s + r * t.raw().stride;
        for (std::int64_t l = 0; l < count; ++l)
            to[l] +=
                simd::sum_products<Arch>(w, relations + (l * queries + row.index) * keys + block.begin, block.count);
    }
}

ATTENTA_DEFINE_EDIT(WeightedRelations)

}  // namespace edits

ATTENTA_END
