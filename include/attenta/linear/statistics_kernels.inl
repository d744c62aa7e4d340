#pragma once

#include <attenta/linear/statistics_kernels.hpp>
#include <attenta/simd/for_vectors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>

ATTENTA_BEGIN

namespace detail::kernels {

template <class Arch>
void raise_to_keys(Heads<const float> k, std::int64_t head, float factor, float* top) {
    using B = simd::Batch<Arch>;
    const B largest(std::numeric_limits<float>::max()), lowest(std::numeric_limits<float>::lowest());
    for (std::int64_t t = 0; t < k.tokens; ++t)
        simd::for_vectors<Arch>(k.dim, [&, row = k.row(head, t)](auto load, auto store) ATTENTA_FLATTEN {
            const B x = B(factor) * load(row), counts = xsimd::select(x <= largest, x, lowest), old = load(top);
            store(top, xsimd::select(counts > old, counts, old));
        });
}

/// Channels are summed side by side, rows in the order of memory.
template <class Arch>
Moments moments(Heads<const float> x, double* scratch) {
    if (x.head_stride < x.token_stride) x = {x.data, x.tokens, x.heads, x.dim, x.token_stride, x.head_stride};
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    double *const sum = scratch, *const squares = sum + x.dim;
    std::fill_n(scratch, 2 * x.dim, 0.);
    Moments all;
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t) {
            const float* const row = x.row(h, t);
            B count(0.f);
            std::int64_t d = 0;
            const auto add = [&](B v, std::int64_t n) ATTENTA_FLATTEN {
                const auto counts = xsimd::abs(v) <= B(std::numeric_limits<float>::max());
                count = count + xsimd::select(counts, B(1.f), B(0.f));
                float numbers[static_cast<std::size_t>(L)];
                xsimd::select(counts, v, B(0.f)).store_unaligned(numbers);
                for (std::int64_t i = 0; i < n; ++i) {
                    const auto e = static_cast<double>(numbers[i]);
                    sum[d + i] += e;
                    squares[d + i] += e * e;
                }
            };
            for (; d + L <= x.dim; d += L) add(simd::load<Arch>(row + d), L);
            const std::int64_t left = x.dim - d;
            if (left > 0) add(simd::load_part<Arch>(row + d, left), left);
            all.count +=
                static_cast<double>(simd::reduce_add<Arch>(count)) - static_cast<double>(left > 0 ? L - left : 0);
        }
    all.sum = std::accumulate(sum, sum + x.dim, 0.);
    all.squares = std::accumulate(squares, squares + x.dim, 0.);
    return all;
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(RaiseToKeys, raise_to_keys, &kernels::raise_to_keys<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(MomentsFunction, moments, &kernels::moments<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
