// Rows in vectors, for kernels on several rows at a time.
#pragma once

#include <attenta/simd/vector.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace simd {

/// f(load, store) with loads and stores of the vector, or of the part of one, at each place of rows.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_vectors(std::int64_t n, F&& f) {
    constexpr std::int64_t L = lanes<Arch>;
    std::int64_t i = 0;
    for (; i + L <= n; i += L)
        f([i](const float* p) ATTENTA_FLATTEN { return simd::load<Arch>(p + i); },
          [i](float* p, Batch<Arch> v) ATTENTA_FLATTEN { v.store_unaligned(p + i); });
    if (const std::int64_t left = n - i; left > 0)
        f([i, left](const float* p) ATTENTA_FLATTEN { return simd::load_part<Arch>(p + i, left); },
          [i, left](float* p, Batch<Arch> v) ATTENTA_FLATTEN { simd::store_part<Arch>(p + i, v, left); });
}

/// o[i] = f(x[i], y[i]); o may be x or y.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void map_pair(const float* x, const float* y, std::int64_t n, float* o, F&& f) {
    for_vectors<Arch>(n, [&](auto&& load, auto&& store) ATTENTA_FLATTEN { store(o, f(load(x), load(y))); });
}

}  // namespace simd

ATTENTA_END
