#pragma once

#include <attenta/linear/features/injective_kernels.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

ATTENTA_BEGIN

namespace features::kernels {

template <class Arch>
void injective_map(const Injective& p, const float* x, float* y, std::int64_t n) {
    using B = simd::Batch<Arch>;
    switch (p.feature) {
        case InjectiveFeature::identity:
            return simd::map_row<Arch>(x, y, n, [](B v) ATTENTA_FLATTEN { return v; });
        case InjectiveFeature::relu:
            return simd::map_row<Arch>(x, y, n, [](B v) ATTENTA_FLATTEN { return simd::max<Arch>(B(0.f), v); });
        case InjectiveFeature::leaky_relu:
            return simd::map_row<Arch>(x, y, n, [](B v) ATTENTA_FLATTEN { return simd::max<Arch>(B(0.01f) * v, v); });
        case InjectiveFeature::exp:
            return simd::map_row<Arch>(x, y, n,
                                       [t = B(p.temperature)](B v) ATTENTA_FLATTEN { return simd::exp<Arch>(t * v); });
    }
}

template <class Arch>
float injective(const scan::FeatureRow& r, const float* x, float* y) {
    const Injective& p = *static_cast<const Injective*>(r.parameters);
    injective_map<Arch>(p, x, y, r.dim);
    if (!p.sums) {
        y[r.dim] = 1;
        return 0;
    }
    const float* const z = p.sums + r.head / p.group * r.features;
    const float n = z[r.dim];
    const float weights = simd::sum_products<Arch>(y, z, r.dim) * p.scale / n;
    simd::scale_row<Arch>(y, r.dim, p.scale / n);
    y[r.dim] = (1 - weights) / n;
    return 0;
}

}  // namespace features::kernels

namespace features {
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, injective_features, &kernels::injective<simd::NativeArch>)
}

ATTENTA_END
