#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/simd/for_vectors.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/variants/structured/resonator_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace structured {

namespace kernels {

template <class Arch>
void multiply_conjugate(const float* re, const float* im, std::int64_t n, float* y, float* y_im) {
    using B = simd::Batch<Arch>;
    simd::for_vectors<Arch>(n, [&](auto&& load, auto&& store) ATTENTA_FLATTEN {
        const B a = load(y), b = load(y_im), c = load(re), d = load(im);
        store(y, simd::fma<Arch>(a, c, b * d));
        store(y_im, simd::fma<Arch>(b, c, B(0.f) - a * d));
    });
}

template <class Arch>
void unbind(const Unbinding& u) {
    const FlushToZero flush;
    std::copy_n(u.s.re, u.n, u.y);
    if (u.y_im) std::copy_n(u.s.im, u.n, u.y_im);
    for (std::int64_t j = 0; j < u.count; ++j) {
        if (j == u.without) continue;
        const float* const re = u.estimates.re + j * u.stride;
        if (u.y_im)
            multiply_conjugate<Arch>(re, u.estimates.im + j * u.stride_im, u.n, u.y, u.y_im);
        else
            simd::multiply_row<Arch>(u.y, re, u.n);
    }
}

template <class Arch>
void project_sign(float* re, float* im, std::int64_t n) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    simd::map_row<Arch>(re, re, n, [](B x) ATTENTA_FLATTEN {
        return xsimd::select(x > B(0.f), B(1.f), xsimd::select(x < B(0.f), B(-1.f), x));
    });
    if (im) std::fill_n(im, n, 0.f);
}

/// Squares of parts relative to the larger one neither overflow nor vanish.
template <class Arch>
void project_phase(float* re, float* im, std::int64_t n) {
    using B = simd::Batch<Arch>;
    if (!im) return project_sign<Arch>(re, im, n);
    const FlushToZero flush;
    simd::for_vectors<Arch>(n, [&](auto&& load, auto&& store) ATTENTA_FLATTEN {
        const B x = load(re), y = load(im), ax = xsimd::abs(x), ay = xsimd::abs(y),
                larger = xsimd::select(ax > ay, ax, ay), unit = xsimd::select(larger > B(0.f), larger, B(1.f)),
                a = simd::divide<Arch>(x, unit), b = simd::divide<Arch>(y, unit),
                squares = simd::fma<Arch>(a, a, b * b),
                norm = xsimd::sqrt(xsimd::select(squares == B(0.f), B(1.f), squares));
        store(re, simd::divide<Arch>(a, norm));
        store(im, simd::divide<Arch>(b, norm));
    });
}

template <class Arch>
void project_l2(float* re, float* im, std::int64_t n) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    const auto squares = [n](const float* x) {
        return double{simd::sum_row<Arch>(x, n, [](B v) ATTENTA_FLATTEN { return v * v; })};
    };
    const double sum = squares(re) + (im ? squares(im) : 0), count = static_cast<double>(n);
    const auto factor = static_cast<float>(sum == 0 ? 0 : std::sqrt(count / sum));
    simd::scale_row<Arch>(re, n, factor);
    if (im) simd::scale_row<Arch>(im, n, factor);
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(UnbindFunction, unbind, &kernels::unbind<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(Projections, projections, &kernels::project_sign<simd::NativeArch>,
                      &kernels::project_phase<simd::NativeArch>, &kernels::project_l2<simd::NativeArch>)

}  // namespace structured

ATTENTA_END
