#pragma once

#include <attenta/simd/score_rows.hpp>
#include <attenta/variants/scores/mega_kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// f(load) for all vectors of a row, with load(x) of a pointer, which knows where the row ends: the result goes to y.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void map_vectors(std::int64_t n, float* y, F&& f) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t i = 0;
    for (; i + L <= n; i += L)
        f([i](const float* x) ATTENTA_FLATTEN { return simd::load<Arch>(x + i); }).store_unaligned(y + i);
    if (i < n)
        simd::store_part<Arch>(
            y + i, f([i, n](const float* x) ATTENTA_FLATTEN { return simd::load_part<Arch>(x + i, n - i); }), n - i);
}

template <class Arch>
struct MegaRowKernels {
    using B = simd::Batch<Arch>;

    static void add_sigmoid(float* y, const float* bias, std::int64_t n) {
        map_vectors<Arch>(n, y, [&](auto at) ATTENTA_FLATTEN { return simd::sigmoid<Arch>(at(y) + at(bias)); });
    }
    static void add_silu(float* y, const float* bias, std::int64_t n) {
        map_vectors<Arch>(n, y, [&](auto at) ATTENTA_FLATTEN { return simd::silu<Arch>(at(y) + at(bias)); });
    }
    static void add(float* y, const float* bias, std::int64_t n) {
        map_vectors<Arch>(n, y, [&](auto at) ATTENTA_FLATTEN { return at(y) + at(bias); });
    }
    static void scale_and_shift(const float* z, const float* gain, const float* bias, std::int64_t n, float* y) {
        map_vectors<Arch>(n, y, [&](auto at) ATTENTA_FLATTEN { return simd::fma<Arch>(at(z), at(gain), at(bias)); });
    }
    static void multiply(float* y, const float* x, std::int64_t n) {
        map_vectors<Arch>(n, y, [&](auto at) ATTENTA_FLATTEN { return at(y) * at(x); });
    }
    static void close(const float* h, const float* y, const float* bias, const float* u, const float* residual,
                      std::int64_t n, float* o) {
        map_vectors<Arch>(n, o, [&](auto at) ATTENTA_FLATTEN {
            const B old = at(residual);
            return simd::fma<Arch>(at(u), simd::silu<Arch>(at(h) + at(y) + at(bias)) - old, old);
        });
    }
};

ATTENTA_DEFINE_KERNEL(MegaRows, mega_rows, &MegaRowKernels<simd::NativeArch>::add_sigmoid,
                      &MegaRowKernels<simd::NativeArch>::add_silu, &MegaRowKernels<simd::NativeArch>::add,
                      &MegaRowKernels<simd::NativeArch>::scale_and_shift, &MegaRowKernels<simd::NativeArch>::multiply,
                      &MegaRowKernels<simd::NativeArch>::close)

}  // namespace detail

ATTENTA_END
