#pragma once

#include <attenta/simd/vector.hpp>
#include <attenta/softmax/row_products.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// `Rows` rows and `Vectors` vectors of columns from c on in registers; load and store are of the columns that there are.
template <class Arch, int Rows, int Vectors, class Load, class Store>
ATTENTA_ALWAYS_INLINE void product_tile(const float* x, std::int64_t x_stride, const RowWeights& w, std::int64_t c,
                                        float* to, std::int64_t to_stride, Load&& load, Store&& store) {
    using B = simd::Batch<Arch>;
    constexpr int L = static_cast<int>(simd::lanes<Arch>);
    B sum[Rows][Vectors];
    simd::unrolled<Vectors>([&](auto v) ATTENTA_FLATTEN {
        const B first = w.bias ? load(w.bias + c + v * L) : B(0.f);
        simd::unrolled<Rows>([&](auto r) ATTENTA_FLATTEN { sum[r][v] = first; });
    });
    for (std::int64_t i = 0; i < w.m; ++i) {
        B weight[Vectors];
        simd::unrolled<Vectors>([&](auto v) ATTENTA_FLATTEN { weight[v] = load(w.data + i * w.stride + c + v * L); });
        simd::unrolled<Rows>([&](auto r) ATTENTA_FLATTEN {
            const B factor(x[r * x_stride + i]);
            simd::unrolled<Vectors>([&](auto v)
                                        ATTENTA_FLATTEN { sum[r][v] = simd::fma<Arch>(factor, weight[v], sum[r][v]); });
        });
    }
    simd::unrolled<Rows>([&](auto r) ATTENTA_FLATTEN {
        simd::unrolled<Vectors>([&](auto v) ATTENTA_FLATTEN { store(to + r * to_stride + c + v * L, sum[r][v]); });
    });
}

template <class Arch, int Rows>
void products_of_rows(const float* x, std::int64_t x_stride, const RowWeights& w, float* to, std::int64_t to_stride) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const auto load = [](const float* p) ATTENTA_FLATTEN { return simd::load<Arch>(p); };
    const auto store = [](float* p, B v) ATTENTA_FLATTEN { v.store_unaligned(p); };
    std::int64_t c = 0;
    for (; c + 2 * L <= w.n; c += 2 * L) product_tile<Arch, Rows, 2>(x, x_stride, w, c, to, to_stride, load, store);
    for (; c + L <= w.n; c += L) product_tile<Arch, Rows, 1>(x, x_stride, w, c, to, to_stride, load, store);
    const std::int64_t left = w.n - c;
    if (left > 0)
        product_tile<Arch, Rows, 1>(
            x, x_stride, w, c, to, to_stride,
            [left](const float* p) ATTENTA_FLATTEN { return simd::load_part<Arch>(p, left); },
            [left](float* p, B v) ATTENTA_FLATTEN { simd::store_part<Arch>(p, v, left); });
}

template <class Arch>
void products(const float* x, std::int64_t x_stride, std::int64_t rows, const RowWeights& w, float* to,
              std::int64_t to_stride) {
    constexpr int together = 4;
    std::int64_t r = 0;
    for (; r + together <= rows; r += together)
        products_of_rows<Arch, together>(x + r * x_stride, x_stride, w, to + r * to_stride, to_stride);
    for (; r < rows; ++r) products_of_rows<Arch, 1>(x + r * x_stride, x_stride, w, to + r * to_stride, to_stride);
}

ATTENTA_DEFINE_KERNEL(MultiplyRows, multiply_rows, &products<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
