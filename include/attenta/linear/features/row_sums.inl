#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/linear/features/row_sums.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>

ATTENTA_BEGIN

namespace kernels {

template <class Arch>
void sum_of_products(const RowProduct* products, std::int64_t count, float* o, std::int64_t n) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    for (std::int64_t i = 0; i < n; i += L) {
        const std::int64_t here = std::min(L, n - i);
        const auto load = [&](const float* p) ATTENTA_FLATTEN {
            return here == L ? simd::load<Arch>(p + i) : simd::load_part<Arch>(p + i, here);
        };
        B sum(0.f);
        for (const RowProduct* p = products; p != products + count; ++p) {
            B y = load(p->x) * B(p->factor);
            if (p->b) y = y * load(p->b);
            sum = p->a ? simd::fma<Arch>(y, load(p->a), sum) : sum + y;
        }
        if (here == L)
            sum.store_unaligned(o + i);
        else
            simd::store_part<Arch>(o + i, sum, here);
    }
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(SumOfProducts, sum_of_products, &kernels::sum_of_products<simd::NativeArch>)

ATTENTA_END
