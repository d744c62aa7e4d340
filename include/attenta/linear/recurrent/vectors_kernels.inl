// Loops over vectors of a row, the last of which may be a part of one.
#pragma once

#include <attenta/simd/vector.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

/// fn(load, store) for every vector of n elements: load(x) reads x there, store(y, v) writes. Lanes behind the last are 0.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_vectors(std::int64_t n, F&& fn) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    using B = simd::Batch<Arch>;
    std::int64_t i = 0;
    for (; i + L <= n; i += L)
        fn([i](const float* x) ATTENTA_FLATTEN { return simd::load<Arch>(x + i); },
           [i](float* y, B v) ATTENTA_FLATTEN { v.store_unaligned(y + i); });
    if (i < n)
        fn([i, n](const float* x) ATTENTA_FLATTEN { return simd::load_part<Arch>(x + i, n - i); },
           [i, n](float* y, B v) ATTENTA_FLATTEN { simd::store_part<Arch>(y + i, v, n - i); });
}

}  // namespace detail::kernels

ATTENTA_END
