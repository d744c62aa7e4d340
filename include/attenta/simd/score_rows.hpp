// Work on rows of scores, weights and outputs in cache.
#pragma once

#include <attenta/simd/math.hpp>
#include <attenta/simd/transpose.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace simd {

/// Replaces scores [begin, end) whose bit is not set by -inf. begin and end are multiples of lanes.
template <class Arch>
ATTENTA_ALWAYS_INLINE void mask_row(float* s, std::int64_t begin, std::int64_t end, const std::uint64_t* words) {
    const Batch<Arch> hidden(-std::numeric_limits<float>::infinity());
    constexpr std::uint64_t lane_mask = (std::uint64_t{1} << lanes<Arch>)-1;
    for (std::int64_t i = begin; i < end; i += lanes<Arch>) {
        const auto bits = static_cast<std::uint32_t>((words[i / 64] >> (i % 64)) & lane_mask);
        select<Arch>(bits, load<Arch>(s + i), hidden).store_unaligned(s + i);
    }
}

/// The largest elements of s in the lanes of a vector; n is a multiple of lanes. NaN in a lane may stay or be
/// dropped.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> lane_max(const float* s, std::int64_t n) {
    Batch<Arch> a = load<Arch>(s), b = a;
    std::int64_t i = lanes<Arch>;
    for (; i + lanes<Arch> < n; i += 2 * lanes<Arch>) {
        a = max<Arch>(a, load<Arch>(s + i));
        b = max<Arch>(b, load<Arch>(s + i + lanes<Arch>));
    }
    if (i < n) a = max<Arch>(a, load<Arch>(s + i));
    return max<Arch>(a, b);
}

/// Lane i of the result is the largest element of rows[i].
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> max_of_rows(const Batch<Arch> (&rows)[static_cast<std::size_t>(lanes<Arch>)]) {
#if defined(ATTENTA_AVX512)
    return join_rows(rows, [](__m512 a, __m512 b) ATTENTA_FLATTEN { return _mm512_max_ps(a, b); });
#else
    constexpr int L = static_cast<int>(lanes<Arch>);
    Batch<Arch> column[static_cast<std::size_t>(L)];
    unrolled<L>([&](auto i) ATTENTA_FLATTEN { column[i] = rows[i]; });
    transpose<Arch>(column);
    unrolled<L - 1>([&](auto i) ATTENTA_FLATTEN { column[0] = max<Arch>(column[0], column[i + 1]); });
    return column[0];
#endif
}

/// s ← finish(exp(s − shift)), returns the sums of the vectors' lanes. n is a multiple of lanes.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE Batch<Arch> row_weights(float* s, std::int64_t n, float shift, F&& finish) {
    const Batch<Arch> top(shift);
    Batch<Arch> sum(0.f);
    for (std::int64_t i = 0; i < n; i += lanes<Arch>) {
        const Batch<Arch> p = finish(exp_weight<Arch>(load<Arch>(s + i) - top));
        p.store_unaligned(s + i);
        sum = sum + p;
    }
    return sum;
}

/// y[i] = f(x[i]); y may be x.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void map_row(const float* x, float* y, std::int64_t n, F&& f) {
    std::int64_t i = 0;
    for (; i + lanes<Arch> <= n; i += lanes<Arch>) f(load<Arch>(x + i)).store_unaligned(y + i);
    if (i < n) store_part<Arch>(y + i, f(load_part<Arch>(x + i, n - i)), n - i);
}

/// y[i] = x[i], any type that is loaded as float.
template <class Arch, class T>
ATTENTA_ALWAYS_INLINE void widen_row(const T* x, float* y, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + lanes<Arch> <= n; i += lanes<Arch>) load<Arch>(x + i).store_unaligned(y + i);
    if (i < n) store_part<Arch>(y + i, load_part<Arch>(x + i, n - i), n - i);
}

/// Σ f(x[i]), with f(0) = 0.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE float sum_row(const float* x, std::int64_t n, F&& f) {
    Batch<Arch> even(0.f), odd(0.f);
    std::int64_t i = 0;
    for (; i + 2 * lanes<Arch> <= n; i += 2 * lanes<Arch>) {
        even = even + f(load<Arch>(x + i));
        odd = odd + f(load<Arch>(x + i + lanes<Arch>));
    }
    for (; i + lanes<Arch> <= n; i += lanes<Arch>) even = even + f(load<Arch>(x + i));
    if (i < n) odd = odd + f(load_part<Arch>(x + i, n - i));
    return reduce_add<Arch>(even + odd);
}

/// Σ x[i] y[i]
template <class Arch>
ATTENTA_ALWAYS_INLINE float sum_products(const float* x, const float* y, std::int64_t n) {
    Batch<Arch> sum(0.f);
    std::int64_t i = 0;
    for (; i + lanes<Arch> <= n; i += lanes<Arch>) sum = fma<Arch>(load<Arch>(x + i), load<Arch>(y + i), sum);
    if (i < n) sum = fma<Arch>(load_part<Arch>(x + i, n - i), load_part<Arch>(y + i, n - i), sum);
    return reduce_add<Arch>(sum);
}

/// The largest number of x, −∞ where all are NaN: it does not depend on where NaN stands, nor on the width of a vector.
template <class Arch>
ATTENTA_ALWAYS_INLINE float row_max(const float* x, std::int64_t n) {
    Batch<Arch> largest(-std::numeric_limits<float>::infinity());
    std::int64_t i = 0;
    for (; i + lanes<Arch> <= n; i += lanes<Arch>) {
        const Batch<Arch> v = load<Arch>(x + i);
        largest = xsimd::select(v > largest, v, largest);
    }
    float top = reduce_max<Arch>(largest);
    for (; i < n; ++i) top = x[i] > top ? x[i] : top;
    return top;
}

/// y ← y · a
template <class Arch>
ATTENTA_ALWAYS_INLINE void scale_row(float* y, std::int64_t n, float a) {
    const Batch<Arch> f(a);
    std::int64_t i = 0;
    for (; i + lanes<Arch> <= n; i += lanes<Arch>) (load<Arch>(y + i) * f).store_unaligned(y + i);
    for (; i < n; ++i) y[i] *= a;
}

/// y ← y · f(x)
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void multiply_row_by(float* y, const float* x, std::int64_t n, F&& f) {
    std::int64_t i = 0;
    for (; i + lanes<Arch> <= n; i += lanes<Arch>) (load<Arch>(y + i) * f(load<Arch>(x + i))).store_unaligned(y + i);
    if (i < n) store_part<Arch>(y + i, load_part<Arch>(y + i, n - i) * f(load_part<Arch>(x + i, n - i)), n - i);
}

/// y ← y · x
template <class Arch>
ATTENTA_ALWAYS_INLINE void multiply_row(float* y, const float* x, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + lanes<Arch> <= n; i += lanes<Arch>) (load<Arch>(y + i) * load<Arch>(x + i)).store_unaligned(y + i);
    for (; i < n; ++i) y[i] *= x[i];
}

/// Whether all of x is finite.
template <class Arch>
ATTENTA_ALWAYS_INLINE bool is_finite_row(const float* x, std::int64_t n) {
    return sum_row<Arch>(x, n, [](Batch<Arch> v) ATTENTA_FLATTEN { return v * Batch<Arch>(0.f); }) == 0.f;
}

/// y ← y + a · x, fused in the last channels too, whether or not the compiler contracts.
template <class Arch, class T>
ATTENTA_ALWAYS_INLINE void add_row(float* y, const T* x, std::int64_t n, float a) {
    const Batch<Arch> f(a);
    std::int64_t i = 0;
    for (; i + lanes<Arch> <= n; i += lanes<Arch>)
        fma<Arch>(f, load<Arch>(x + i), load<Arch>(y + i)).store_unaligned(y + i);
    if (i < n)
        store_part<Arch>(y + i, fma<Arch>(f, load_part<Arch>(x + i, n - i), load_part<Arch>(y + i, n - i)), n - i);
}

/// y ← a · x; returns whether all of y is finite.
template <class Arch>
ATTENTA_ALWAYS_INLINE bool finish_row(float* y, const float* x, std::int64_t n, float a) {
    const Batch<Arch> f(a);
    Batch<Arch> zero(0.f);
    float tail = 0;
    std::int64_t i = 0;
    for (; i + lanes<Arch> <= n; i += lanes<Arch>) {
        const Batch<Arch> v = load<Arch>(x + i) * f;
        v.store_unaligned(y + i);
        zero = fma<Arch>(v, Batch<Arch>(0.f), zero);
    }
    for (; i < n; ++i) tail += 0.f * (y[i] = a * x[i]);
    return reduce_add<Arch>(zero) + tail == 0.f;
}

}  // namespace simd

ATTENTA_END
