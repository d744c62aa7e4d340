// Vectors stored as elements of other types, rounded to nearest even; NaN stays NaN.
#pragma once

#include <attenta/simd/vector.hpp>

#include <algorithm>

ATTENTA_BEGIN

namespace simd {

template <class Arch>
ATTENTA_ALWAYS_INLINE void store(float* p, Batch<Arch> x) {
    x.store_unaligned(p);
}

template <class Arch>
ATTENTA_ALWAYS_INLINE void store(bfloat16* p, Batch<Arch> x) {
    float buffer[static_cast<std::size_t>(lanes<Arch>)];
    x.store_unaligned(buffer);
    for (std::int64_t i = 0; i < lanes<Arch>; ++i) p[i] = bfloat16(buffer[i]);  // compilers make vectors of this
}

template <class Arch>
ATTENTA_ALWAYS_INLINE void store(float16* p, Batch<Arch> x) {
#if defined(ATTENTA_AVX512)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
#elif defined(ATTENTA_AVX2) && defined(__F16C__)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
#elif defined(ATTENTA_NEON64)
    vst1_u16(&p->bits, vreinterpret_u16_f16(vcvt_f16_f32(x)));
#else
    float buffer[static_cast<std::size_t>(lanes<Arch>)];
    x.store_unaligned(buffer);
    for (std::int64_t i = 0; i < lanes<Arch>; ++i) p[i] = float16(buffer[i]);
#endif
}

/// The first `n` < lanes of them.
template <class Arch, class T>
ATTENTA_ALWAYS_INLINE void store_first(T* p, Batch<Arch> x, std::int64_t n) {
    T buffer[static_cast<std::size_t>(lanes<Arch>)];
    store<Arch>(buffer, x);
    std::copy_n(buffer, n, p);
}

}  // namespace simd

ATTENTA_END
