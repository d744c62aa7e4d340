#pragma once

#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/merge.hpp>
#include <attenta/engine/common/row_statistics.hpp>
#include <attenta/simd/for_vectors.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace kernels {

template <class Arch>
RowStatistics merge_row(const float* o_parts, std::int64_t o_step, const float* max, const float* sum,
                        std::int64_t step, std::int64_t parts, std::int64_t dim_v, float* o) {
    RowStatistics row;
    for (std::int64_t p = 0; p < parts; ++p) row.max = std::max(row.max, max[p * step]);
    const auto is_neutral = [&](std::int64_t p) {
        return sum ? sum[p * step] == 0.f : max[p * step] == minus_infinity;
    };
    const auto weight = [&](std::int64_t p) { return std::exp(max[p * step] - row.max) * (sum ? sum[p * step] : 1.f); };
    for (std::int64_t p = 0; p < parts; ++p)
        if (!is_neutral(p)) row.sum += weight(p);
    const float scale = row.output_factor();
    bool first = true;
    for (std::int64_t p = 0; p < parts; ++p) {
        if (is_neutral(p)) continue;  // whatever its o
        const float* part = o_parts + p * o_step;
        if (first)
            simd::finish_row<Arch>(o, part, dim_v, weight(p) * scale);
        else
            simd::add_row<Arch>(o, part, dim_v, weight(p) * scale);
        first = false;
    }
    if (first) std::fill_n(o, dim_v, 0.f);
    return row;
}

template <class Arch>
void sum_row_parts(const float* o_parts, std::int64_t o_step, std::int64_t parts, std::int64_t dim_v, float* o) {
    std::copy_n(o_parts, dim_v, o);
    for (std::int64_t p = 1; p < parts; ++p) simd::add_row<Arch>(o, o_parts + p * o_step, dim_v, 1.f);
}

template <class Arch>
void gate_output_row(const float* gate, const float* bias, std::int64_t gate_dim, std::int64_t dim_v, float* o) {
    using B = simd::Batch<Arch>;
    if (gate_dim == 1) {
        const B factor = simd::sigmoid<Arch>(B(bias ? *gate + *bias : *gate));
        return simd::map_row<Arch>(o, o, dim_v, [&](B x) ATTENTA_FLATTEN { return x * factor; });
    }
    simd::for_vectors<Arch>(dim_v, [&](auto&& load, auto&& store) ATTENTA_FLATTEN {
        B g = load(gate);
        if (bias) g = g + load(bias);
        store(o, load(o) * simd::sigmoid<Arch>(g));
    });
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(MergeFunction, merge_row, &kernels::merge_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(SumFunction, sum_row_parts, &kernels::sum_row_parts<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(GateFunction, gate_output_row, &kernels::gate_output_row<simd::NativeArch>)

ATTENTA_END
