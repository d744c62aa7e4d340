#pragma once

#include <attenta/engine/rotary/kernels.hpp>
#include <attenta/simd/store.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace rotary {

/// f(load, store) for each vector of n elements: load(p) and store(p, x) are of its place in p.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_vectors(std::int64_t n, F&& f) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t i = 0;
    for (; i + L <= n; i += L)
        f([i](const auto* p) ATTENTA_FLATTEN { return simd::load<Arch>(p + i); },
          [i](auto* p, simd::Batch<Arch> x) ATTENTA_FLATTEN { simd::store<Arch>(p + i, x); });
    const std::int64_t left = n - i;
    if (left > 0)
        f([i, left](const auto* p) ATTENTA_FLATTEN { return simd::load_part<Arch>(p + i, left); },
          [i, left](auto* p, simd::Batch<Arch> x) ATTENTA_FLATTEN { simd::store_first<Arch>(p + i, x, left); });
}

template <class Arch, class T>
void rotate(const void* from, const float* table, std::int64_t pairs, bool interleaved, std::int64_t dim, void* out) {
    const T* const x = static_cast<const T*>(from);
    T* const to = static_cast<T*>(out);
    if (interleaved) {
        for_vectors<Arch>(2 * pairs, [&](auto load, auto store) ATTENTA_FLATTEN {
            store(to, simd::complex_product<Arch>(load(x), load(table)));
        });
    } else {
        for_vectors<Arch>(pairs, [&](auto load, auto store) ATTENTA_FLATTEN {
            const simd::Batch<Arch> a = load(x), b = load(x + pairs), c = load(table), s = load(table + pairs);
            store(to, a * c - b * s);
            store(to + pairs, b * c + a * s);
        });
    }
    if (to != x) std::copy(x + 2 * pairs, x + dim, to + 2 * pairs);
}

ATTENTA_DEFINE_KERNEL(Kernels, rotate_rows,
                      {&rotate<simd::NativeArch, float>, &rotate<simd::NativeArch, bfloat16>,
                       &rotate<simd::NativeArch, float16>})

}  // namespace rotary

ATTENTA_END
