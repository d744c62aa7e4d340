#pragma once

#include <attenta/simd/vector.hpp>
#include <attenta/sparse/documents/rope_reencode_kernels.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// f(load, store) for each vector of n numbers: load(p) and store(p, x) are of its place in p.
template <class Arch, class F>
void for_vectors(std::int64_t n, F&& f) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t i = 0;
    for (; i + L <= n; i += L)
        f([i](const float* p) { return simd::load<Arch>(p + i); },
          [i](float* p, simd::Batch<Arch> x) { x.store_unaligned(p + i); });
    const std::int64_t left = n - i;
    if (left > 0)
        f([i, left](const float* p) { return simd::load_part<Arch>(p + i, left); },
          [i, left](float* p, simd::Batch<Arch> x) { simd::store_part<Arch>(p + i, x, left); });
}

template <class Arch>
void rotate(const float* x, const float* table, std::int64_t pairs, bool interleaved, std::int64_t dim, float* to) {
    if (interleaved) {
        for_vectors<Arch>(2 * pairs,
                          [&](auto load, auto store) { store(to, simd::complex_product<Arch>(load(x), load(table))); });
    } else {
        for_vectors<Arch>(pairs, [&](auto load, auto store) {
            const simd::Batch<Arch> a = load(x), b = load(x + pairs), c = load(table), s = load(table + pairs);
            store(to, a * c - b * s);
            store(to + pairs, b * c + a * s);
        });
    }
    if (to != x) std::copy(x + 2 * pairs, x + dim, to + 2 * pairs);
}

ATTENTA_DEFINE_KERNEL(RotateRow, rotate_row, &rotate<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
