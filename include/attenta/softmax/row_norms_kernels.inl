#pragma once

#include <attenta/simd/score_rows.hpp>
#include <attenta/softmax/row_norms.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Σ f(x[i]). What f gives behind the last element of a row does not count.
template <class Arch, class T, class F>
ATTENTA_ALWAYS_INLINE float sum_elements(const T* x, std::int64_t n, F&& f) {
    constexpr std::int64_t L = simd::lanes<Arch>;
    simd::Batch<Arch> even(0.f), odd(0.f);
    std::int64_t i = 0;
    for (; i + 2 * L <= n; i += 2 * L) {
        even = even + f(simd::load<Arch>(x + i));
        odd = odd + f(simd::load<Arch>(x + i + L));
    }
    for (; i + L <= n; i += L) even = even + f(simd::load<Arch>(x + i));
    float sum = simd::reduce_add<Arch>(even + odd);
    if (i < n) {
        float last[static_cast<std::size_t>(L)];
        f(simd::load_part<Arch>(x + i, n - i)).store_unaligned(last);
        for (std::int64_t c = 0; c < n - i; ++c) sum += last[c];
    }
    return sum;
}

struct RowMoments {
    float mean = 0, factor = 1;
};

inline float factor_of(double squares, std::int64_t dim, VectorNorm norm, float eps) {
    if (norm == VectorNorm::l2) return static_cast<float>(1 / std::max(std::sqrt(squares), double{eps}));
    return static_cast<float>(1 / std::sqrt(squares / static_cast<double>(dim) + double{eps}));
}

template <class Arch, class T>
ATTENTA_ALWAYS_INLINE RowMoments row_moments(const T* x, std::int64_t dim, VectorNorm norm, float eps) {
    using B = simd::Batch<Arch>;
    RowMoments m;
    if (norm == VectorNorm::none) return m;
    if (norm == VectorNorm::layer)
        m.mean = sum_elements<Arch>(x, dim, [](B v) ATTENTA_FLATTEN { return v; }) / static_cast<float>(dim);
    const B mean(m.mean);
    double squares = double{sum_elements<Arch>(x, dim, [&](B v) ATTENTA_FLATTEN { return (v - mean) * (v - mean); })};
    // Squares of numbers far from 1 leave the floats.
    if (!(squares > 1e-25 && squares < 1e37)) {
        squares = 0;
        for (std::int64_t c = 0; c < dim; ++c) {
            const double v = double{static_cast<float>(x[c])} - double{m.mean};
            squares += v * v;
        }
    }
    m.factor = factor_of(squares, dim, norm, eps);
    return m;
}

template <class Arch>
void normalize(const float* x, std::int64_t dim, VectorNorm norm, float eps, const float* weight, const float* bias,
               float* y) {
    using B = simd::Batch<Arch>;
    const RowMoments m = row_moments<Arch>(x, dim, norm, eps);
    const B mean(m.mean), factor(m.factor);
    const auto channels = [&](std::int64_t c, auto&& load) ATTENTA_FLATTEN {
        B v = (load(x + c) - mean) * factor;
        if (weight) v = v * load(weight + c);
        return bias ? v + load(bias + c) : v;
    };
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t c = 0;
    for (; c + L <= dim; c += L)
        channels(c, [](const float* p) ATTENTA_FLATTEN { return simd::load<Arch>(p); }).store_unaligned(y + c);
    const std::int64_t left = dim - c;
    if (left > 0)
        simd::store_part<Arch>(
            y + c, channels(c, [left](const float* p) ATTENTA_FLATTEN { return simd::load_part<Arch>(p, left); }),
            left);
}

template <class Arch>
float factor_of_row(const void* x, Dtype type, std::int64_t dim, VectorNorm norm, float eps) {
    const auto factor = [&](const auto* row) { return row_moments<Arch>(row, dim, norm, eps).factor; };
    if (type == Dtype::bf16) return factor(static_cast<const bfloat16*>(x));
    if (type == Dtype::f16) return factor(static_cast<const float16*>(x));
    return factor(static_cast<const float*>(x));
}

ATTENTA_DEFINE_KERNEL(NormalizeRow, normalize_row, &normalize<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(RowFactor, row_factor, &factor_of_row<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
