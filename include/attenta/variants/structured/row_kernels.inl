#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/variants/structured/row_kernels.hpp>

#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace structured {

namespace kernels {

/// The largest |x + shift| but for NaN.
template <class Arch>
float largest_size(const float* x, std::int64_t n, float shift) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    B largest(0.f);
    std::int64_t i = 0;
    for (; i + L <= n; i += L) {
        const B size = xsimd::abs(simd::load<Arch>(x + i) + B(shift));
        largest = xsimd::select(size > largest, size, largest);
    }
    float top = simd::reduce_max<Arch>(largest);
    for (; i < n; ++i) top = std::abs(x[i] + shift) > top ? std::abs(x[i] + shift) : top;
    return top;
}

/// `to` may be x.
template <class Arch>
float unit_row(const float* x, std::int64_t n, const UnitRow& how, float* to) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    const B shift(how.shift);
    const float largest = largest_size<Arch>(x, n, how.shift), unit = largest > 0 ? largest : 1.f;
    const B of_unit(unit);
    simd::map_row<Arch>(x, to, n, [&](B v) ATTENTA_FLATTEN { return simd::divide<Arch>(v + shift, of_unit); });
    const double squares = double{simd::sum_row<Arch>(to, n, [](B v) ATTENTA_FLATTEN { return v * v; })},
                 norm = std::sqrt(squares * double{unit} * double{unit} + double{how.eps});
    const double factor = norm == 0 ? 0 : double{how.factor} * double{unit} / norm;
    simd::scale_row<Arch>(to, n, static_cast<float>(factor));
    return static_cast<float>(norm);
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(UnitRowFunction, unit_row, &kernels::unit_row<simd::NativeArch>)

}  // namespace structured

ATTENTA_END
