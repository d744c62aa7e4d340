// The instruction sets, and what a register tile is on each.
#pragma once

#include <attenta/core/dtype.hpp>
#include <attenta/core/isa.hpp>
#include <attenta/simd/xsimd.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#if defined(__GNUC__)
#define ATTENTA_ALWAYS_INLINE inline __attribute__((always_inline))
#define ATTENTA_FLATTEN __attribute__((always_inline))
#else
#define ATTENTA_ALWAYS_INLINE inline
#define ATTENTA_FLATTEN
#endif

ATTENTA_BEGIN

namespace simd {

template <class Arch>
using Batch = xsimd::batch<float, Arch>;
template <class Arch>
using IntBatch = xsimd::batch<std::int32_t, Arch>;

template <class Arch>
inline constexpr std::int64_t lanes = static_cast<std::int64_t>(Batch<Arch>::size);

/// f(std::integral_constant<int, 0>) … f(std::integral_constant<int, N-1>): a loop that is unrolled for sure, so that
/// arrays of batches live in registers.
template <int N, class F>
ATTENTA_ALWAYS_INLINE void unrolled(F&& f) {
    [&]<int... I>(std::integer_sequence<int, I...>) ATTENTA_FLATTEN { (f(std::integral_constant<int, I>{}), ...); }
    (std::make_integer_sequence<int, N>{});
}

/// The architectures that the backends use, and what a register tile is on each: rows × vectors. The tile's
/// accumulators, one row of its operand and a broadcast fill the register file (32 registers, 16 on AVX2 and SSE2). Its
/// width divides the tile engine's block of keys.

template <class Arch>
struct TileShape {
    static constexpr int rows = 6, vectors = 2;
};

#if defined(ATTENTA_AVX512)
using NativeArch = xsimd::avx512bw;
inline constexpr Isa native_isa = Isa::avx512;
template <>
struct TileShape<NativeArch> {
    static constexpr int rows = 12, vectors = 2;
};
#elif defined(ATTENTA_AVX2)
using NativeArch = xsimd::fma3<xsimd::avx2>;
inline constexpr Isa native_isa = Isa::avx2;
#elif defined(ATTENTA_NEON64)
using NativeArch = xsimd::neon64;
inline constexpr Isa native_isa = Isa::neon64;
template <>
struct TileShape<NativeArch> {
    static constexpr int rows = 12, vectors = 2;
};
#else
using NativeArch = xsimd::sse2;
inline constexpr Isa native_isa = Isa::sse2;
#endif

}  // namespace simd

ATTENTA_END
