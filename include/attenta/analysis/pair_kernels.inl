#pragma once

#include <attenta/analysis/pair_kernels.hpp>
#include <attenta/core/flush_to_zero.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>

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

template <class Arch>
float squared_pair_distances(const float* products, const float* squares, std::int64_t n, float square, float gain,
                             float* to) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    const auto distance = [square, gain](B product, B other) ATTENTA_FLATTEN {
        return simd::max<Arch>(B(0.f), simd::fma<Arch>(B(-2 * gain), product, B(square) + other));
    };
    B least(std::numeric_limits<float>::infinity());
    std::int64_t j = 0;
    for (; j + L <= n; j += L) {
        const B d = distance(simd::load<Arch>(products + j), simd::load<Arch>(squares + j));
        d.store_unaligned(to + j);
        least = simd::min<Arch>(least, d);
    }
    float smallest = -simd::reduce_max<Arch>(-least);
    if (j < n) {
        const B d = distance(simd::load_part<Arch>(products + j, n - j), simd::load_part<Arch>(squares + j, n - j));
        simd::store_part<Arch>(to + j, d, n - j);
        smallest = std::min(smallest, *std::min_element(to + j, to + n));
    }
    return smallest;
}

template <class Arch>
CorrelationSums pair_correlation_sums(const float* products, const float* parts, const float* squared, std::int64_t n,
                                      float part) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    B product(0.f), distance(0.f), in_products(0.f), in_distances(0.f), mixed(0.f);
    const auto add = [&](std::int64_t j, B present, auto&& load) ATTENTA_FLATTEN {
        const B a = present * (load(products + j) + load(parts + j) + B(part));
        const B d = present * (xsimd::sqrt(load(squared + j)) - B(1.f));
        product = product + a;
        distance = distance + d;
        in_products = simd::fma<Arch>(a, a, in_products);
        in_distances = simd::fma<Arch>(d, d, in_distances);
        mixed = simd::fma<Arch>(a, d, mixed);
    };
    std::int64_t j = 0;
    for (; j + L <= n; j += L) add(j, B(1.f), [](const float* x) ATTENTA_FLATTEN { return simd::load<Arch>(x); });
    if (j < n) {
        float present[static_cast<std::size_t>(L)] = {};
        std::fill_n(present, n - j, 1.f);
        add(j, simd::load<Arch>(present),
            [left = n - j](const float* x) ATTENTA_FLATTEN { return simd::load_part<Arch>(x, left); });
    }
    return {simd::reduce_add<Arch>(product), simd::reduce_add<Arch>(distance), simd::reduce_add<Arch>(in_products),
            simd::reduce_add<Arch>(in_distances), simd::reduce_add<Arch>(mixed)};
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(SumMarked, sum_marked, &kernels::sum_marked<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(SquaredDistances, squared_pair_distances, &kernels::squared_pair_distances<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(SumForCorrelation, pair_correlation_sums, &kernels::pair_correlation_sums<simd::NativeArch>)

}  // namespace analysis

ATTENTA_END
