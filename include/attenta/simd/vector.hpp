// Vectors: the one place that knows xsimd's versions and the few operations that it lacks.
#pragma once

#include <attenta/simd/arch.hpp>

ATTENTA_BEGIN

namespace simd {

template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> load(const float* p) {
    return Batch<Arch>::load_unaligned(p);
}

/// A vector of stored elements, widened.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> load(const bfloat16* p) {
#if defined(ATTENTA_AVX512)
    const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
#elif defined(ATTENTA_AVX2)
    const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
#elif defined(ATTENTA_NEON64)
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(&p->bits), 16));
#else
    const __m128i h = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), h));
#endif
}

#if defined(__SSE2__)
/// Four elements without the instruction for it: normal ones are shifted into place and get the difference of the
/// exponents' biases, twice it for infinities and NaN; subnormal ones are integers times 2^-24, because as subnormal floats
/// they would count as zero.
ATTENTA_ALWAYS_INLINE __m128 widen(const float16* p) {
    const __m128i h = _mm_unpacklo_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)), _mm_setzero_si128());
    const __m128i magnitude = _mm_and_si128(h, _mm_set1_epi32(0x7fff)), bias = _mm_set1_epi32(112 << 23);
    const __m128i sign = _mm_slli_epi32(_mm_and_si128(h, _mm_set1_epi32(0x8000)), 16);
    const __m128i special = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7bff)),
                  normal = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x03ff));
    const __m128i rebiased =
        _mm_add_epi32(_mm_add_epi32(_mm_slli_epi32(magnitude, 13), bias), _mm_and_si128(special, bias));
    const __m128i subnormal = _mm_castps_si128(_mm_mul_ps(_mm_cvtepi32_ps(magnitude), _mm_set1_ps(0x1p-24f)));
    const __m128i bits = _mm_or_si128(_mm_and_si128(normal, rebiased), _mm_andnot_si128(normal, subnormal));
    return _mm_castsi128_ps(_mm_or_si128(bits, sign));
}
#endif

template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> load(const float16* p) {
#if defined(ATTENTA_AVX512)
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(ATTENTA_AVX2) && defined(__F16C__)
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(ATTENTA_AVX2)
    return _mm256_set_m128(widen(p + 4), widen(p));
#elif defined(ATTENTA_NEON64)
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)));
#else
    return widen(p);
#endif
}

/// `n` < lanes elements, zeros behind them. Never reads past the n-th.
template <class Arch, class T>
ATTENTA_ALWAYS_INLINE Batch<Arch> load_part(const T* p, std::int64_t n) {
    T buffer[static_cast<std::size_t>(lanes<Arch>)] = {};
    for (std::int64_t i = 0; i < n; ++i) buffer[i] = p[i];
    return load<Arch>(buffer);
}

template <class Arch>
ATTENTA_ALWAYS_INLINE void store_part(float* p, Batch<Arch> x, std::int64_t n) {
    float buffer[static_cast<std::size_t>(lanes<Arch>)];
    x.store_unaligned(buffer);
    for (std::int64_t i = 0; i < n; ++i) p[i] = buffer[i];
}

/// Largest lane. Where lanes are NaN: NaN or the largest of the others.
template <class Arch>
ATTENTA_ALWAYS_INLINE float reduce_max(Batch<Arch> x) {
#if defined(ATTENTA_AVX512)
    return _mm512_reduce_max_ps(x);
#elif defined(ATTENTA_NEON64)
    return vmaxvq_f32(x);
#else
#if defined(ATTENTA_AVX2)
    const __m128 h = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
#else
    const __m128 h = x;
#endif
    const __m128 m = _mm_max_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
#endif
}

template <class Arch>
ATTENTA_ALWAYS_INLINE float reduce_add(Batch<Arch> x) {
#if XSIMD_VERSION_MAJOR > 9
    return xsimd::reduce_add(x);
#else
    return xsimd::hadd(x);
#endif
}

#if defined(ATTENTA_AVX512)
/// Lane i of the result is rows[i]'s elements, joined by `op`.
template <class Op>
ATTENTA_ALWAYS_INLINE __m512 join_rows(const Batch<NativeArch> (&rows)[16], Op&& op) {
    __m512 quad[4];  // quarter by quarter those of four rows
    unrolled<4>([&](auto g) ATTENTA_FLATTEN {
        const auto pair = [&](__m512 a, __m512 b) ATTENTA_FLATTEN {
            return _mm512_castps_pd(op(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
        };
        const __m512d ab = pair(rows[4 * g], rows[4 * g + 1]), cd = pair(rows[4 * g + 2], rows[4 * g + 3]);
        quad[g] = op(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
    });
    const auto fold = [&](__m512 a, __m512 b) ATTENTA_FLATTEN {
        return op(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    };
    return fold(fold(quad[0], quad[1]), fold(quad[2], quad[3]));
}
#endif

/// Lane i of the result is the sum of rows[i].
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> reduce_rows(const Batch<Arch> (&rows)[static_cast<std::size_t>(lanes<Arch>)]) {
#if defined(ATTENTA_AVX512)  // xsimd 8.1 has a haddp for AVX-512 that mixes lanes up
    return join_rows(rows, [](__m512 a, __m512 b) ATTENTA_FLATTEN { return _mm512_add_ps(a, b); });
#else
    return xsimd::haddp(rows);
#endif
}

template <class Arch>
ATTENTA_ALWAYS_INLINE IntBatch<Arch> bits_of(Batch<Arch> x) {
#if defined(ATTENTA_NEON64)  // xsimd 8.1 calls a function through a table
    return vreinterpretq_s32_f32(x);
#elif XSIMD_VERSION_MAJOR > 9
    return xsimd::bitwise_cast<std::int32_t>(x);
#else
    return xsimd::bitwise_cast<IntBatch<Arch> >(x);
#endif
}

template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> float_of(IntBatch<Arch> x) {
#if defined(ATTENTA_NEON64)
    return vreinterpretq_f32_s32(x);
#elif XSIMD_VERSION_MAJOR > 9
    return xsimd::bitwise_cast<float>(x);
#else
    return xsimd::bitwise_cast<Batch<Arch> >(x);
#endif
}

/// Products of complex numbers: pairs (2i, 2i + 1) of lanes are real and imaginary part.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> complex_product(Batch<Arch> a, Batch<Arch> b) {
#if defined(ATTENTA_AVX512)
    return _mm512_fmaddsub_ps(a, _mm512_moveldup_ps(b), _mm512_permute_ps(a, 0xb1) * _mm512_movehdup_ps(b));
#elif defined(ATTENTA_AVX2)
    return _mm256_fmaddsub_ps(a, _mm256_moveldup_ps(b), _mm256_permute_ps(a, 0xb1) * _mm256_movehdup_ps(b));
#elif defined(ATTENTA_NEON64)
    constexpr float32x4_t signs = {-1.f, 1.f, -1.f, 1.f};
    return vfmaq_f32(vrev64q_f32(a) * signs * vtrn2q_f32(b, b), a, vtrn1q_f32(b, b));
#else
    const __m128 signs = _mm_setr_ps(-1.f, 1.f, -1.f, 1.f), crossed = _mm_shuffle_ps(a, a, 0xb1);
    return _mm_add_ps(_mm_mul_ps(a, _mm_shuffle_ps(b, b, 0xa0)), crossed * signs * _mm_shuffle_ps(b, b, 0xf5));
#endif
}

template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> divide(Batch<Arch> a, Batch<Arch> b) {
#if defined(ATTENTA_NEON64)  // xsimd 8.1 refines an estimate of 1 / b, which is not exact
    return vdivq_f32(a, b);
#else
    return a / b;
#endif
}

template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> fma(Batch<Arch> a, Batch<Arch> b, Batch<Arch> c) {
    return xsimd::fma(a, b, c);
}

/// Bit i is lane i of a comparison.
template <class Arch>
ATTENTA_ALWAYS_INLINE std::uint32_t bits_of(xsimd::batch_bool<float, Arch> x) {
#if defined(ATTENTA_AVX512)
    return static_cast<__mmask16>(x);
#elif defined(ATTENTA_AVX2)
    return static_cast<std::uint32_t>(_mm256_movemask_ps(static_cast<__m256>(x)));
#elif defined(ATTENTA_NEON64)
    const std::uint32_t place[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(static_cast<uint32x4_t>(x), vld1q_u32(place)));
#else
    return static_cast<std::uint32_t>(_mm_movemask_ps(static_cast<__m128>(x)));
#endif
}

/// Larger lanes of `bound` and `x`; NaN in `x` stays NaN, NaN in `bound` is dropped but on NEON. (xsimd's own maximum took
/// NaN from its second operand first, then from its first.)
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> max(Batch<Arch> bound, Batch<Arch> x) {
#if defined(ATTENTA_AVX512)
    return _mm512_max_ps(bound, x);
#elif defined(ATTENTA_AVX2)
    return _mm256_max_ps(bound, x);
#elif defined(ATTENTA_NEON64)
    return vmaxq_f32(bound, x);
#else
    return _mm_max_ps(bound, x);
#endif
}

/// Smaller lanes of `bound` and `x`, NaN as in max.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> min(Batch<Arch> bound, Batch<Arch> x) {
#if defined(ATTENTA_AVX512)
    return _mm512_min_ps(bound, x);
#elif defined(ATTENTA_AVX2)
    return _mm256_min_ps(bound, x);
#elif defined(ATTENTA_NEON64)
    return vminq_f32(bound, x);
#else
    return _mm_min_ps(bound, x);
#endif
}

/// `bits` choose lanes of `x`; others become `otherwise`.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> select(std::uint32_t bits, Batch<Arch> x, Batch<Arch> otherwise) {
#if defined(ATTENTA_AVX512)
    return _mm512_mask_mov_ps(otherwise, static_cast<__mmask16>(bits), x);
#else
    alignas(32) static constexpr std::int32_t lane_bits[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const auto chosen = IntBatch<Arch>(static_cast<std::int32_t>(bits)) & IntBatch<Arch>::load_aligned(lane_bits);
    return xsimd::select(xsimd::to_float(chosen) != Batch<Arch>(0.f), x, otherwise);
#endif
}

/// Loads that follow stay behind what precedes. g++ 12 for Arm would otherwise load all scalars of a register tile's step
/// first and spill sums.
ATTENTA_ALWAYS_INLINE void hold_loads() {
#if defined(ATTENTA_NEON64) && defined(__GNUC__)
    asm volatile("" ::: "memory");
#endif
}

}  // namespace simd

ATTENTA_END
