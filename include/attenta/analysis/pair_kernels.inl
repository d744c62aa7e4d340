#pragma once

#include <attenta/analysis/pair_kernels.hpp>
#include <attenta/core/flush_to_zero.hpp>
#include <attenta/simd/score_rows.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace analysis {

namespace kernels {

template <class Arch>
MarkedSums sum_marked(const float* x, const float* mark, std::int64_t n, float least) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    B weight(0.f), strong(0.f);
    const auto add = [&](B v, B m) ATTENTA_FLATTEN {
        weight = simd::fma<Arch>(v, m, weight);
        strong = strong + xsimd::select(v >= B(least), m, B(0.f));
    };
    std::int64_t j = 0;
    for (; j + L <= n; j += L) add(simd::load<Arch>(x + j), simd::load<Arch>(mark + j));
    if (j < n) add(simd::load_part<Arch>(x + j, n - j), simd::load_part<Arch>(mark + j, n - j));
    return {simd::reduce_add<Arch>(weight), simd::reduce_add<Arch>(strong)};
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(SumMarked, sum_marked, &kernels::sum_marked<simd::NativeArch>)

}  // namespace analysis

ATTENTA_END
