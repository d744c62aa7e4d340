#pragma once

#include <attenta/simd/score_rows.hpp>
#include <attenta/variants/normalisers/entmax_kernels.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace detail {

/// max(x − τ, 0)^p of x = (α − 1)(s − max s). The threshold is two floats, so that x − τ keeps the digits of a small weight.
template <class Arch>
class EntmaxPower {
    using B = simd::Batch<Arch>;

public:
    EntmaxPower(double tau, float p) : p_(p) {
        const auto high = static_cast<float>(tau);
        high_ = B(high);
        low_ = B(static_cast<float>(tau - static_cast<double>(high)));
    }
    ATTENTA_ALWAYS_INLINE B base(B x) const {
        const B u = (x - high_) - low_;
        return xsimd::select(u > B(0.f), u, B(0.f));
    }
    ATTENTA_ALWAYS_INLINE B weight(B u) const {
        if (p_ == 1.f) return u;
        if (p_ == 2.f) return u * u;
        const B log = simd::log_with_complement<Arch>(u, B(1.f) - u);
        return xsimd::select(u > B(0x1p-100f), simd::exp<Arch>(B(p_) * log), B(0.f));
    }

private:
    float p_;
    B high_, low_;
};

/// What a row is before its threshold is sought.
struct EntmaxRange {
    float max = 0;
    bool is_number = true;  ///< no NaN, and no infinity but hidden keys
};

template <class Arch>
EntmaxRange range_of(const float* s, std::int64_t n) {
    using B = simd::Batch<Arch>;
    constexpr float infinity = std::numeric_limits<float>::infinity();
    B odd(0.f);
    for (std::int64_t i = 0; i < n; i += simd::lanes<Arch>) {
        const B x = simd::load<Arch>(s + i);
        odd = odd + xsimd::select(x < B(infinity), B(0.f), B(1.f));  // of NaN the comparison is false
    }
    return {simd::row_max<Arch>(s, n), simd::reduce_add<Arch>(odd) == 0.f};
}

/// The numbers (x − max) · factor above a bound, and so many −1 behind them that vectors are whole. Returns how many there are with
/// these. `to` may be `x`.
template <class Arch>
std::int64_t keep_above(const float* x, std::int64_t n, float bound, float* to, float max = 0, float factor = 1) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < n; i += L) {
        const B y = (simd::load<Arch>(x + i) - B(max)) * B(factor);
        std::uint32_t bits = simd::bits_of<Arch>(y > B(bound));
        if (bits == 0) continue;
        float lane[static_cast<std::size_t>(L)];
        y.store_unaligned(lane);
        for (; bits != 0; bits &= bits - 1) to[count++] = lane[std::countr_zero(bits)];
    }
    while (count % L != 0) to[count++] = -1.f;
    return count;
}

/// At a threshold: Σ w, Σ w/u, and how many u are above 0.
struct EntmaxSums {
    double weights, slope, count;
};

template <class Arch>
EntmaxSums sums_at(const float* x, std::int64_t n, double tau, float p) {
    using B = simd::Batch<Arch>;
    const EntmaxPower<Arch> power(tau, p);
    const B zero(0.f), one(1.f);
    B sum(0.f), slope(0.f), count(0.f);
    for (std::int64_t i = 0; i < n; i += simd::lanes<Arch>) {
        const B u = power.base(simd::load<Arch>(x + i)), w = power.weight(u);
        sum = sum + w;
        slope = slope + xsimd::select(u > zero, simd::divide<Arch>(w, u), zero);
        count = count + xsimd::select(u > zero, one, zero);
    }
    return {double{simd::reduce_add<Arch>(sum)}, double{simd::reduce_add<Arch>(slope)},
            double{simd::reduce_add<Arch>(count)}};
}

/// For p >= 1. The p-norm of u is convex and falls with τ, and almost straight: Newton's method for norm = 1 comes from below, never
/// goes too far, and needs few steps. Numbers that τ has passed stay behind.
template <class Arch>
double threshold_from_below(float* x, std::int64_t& n, float p) {
    constexpr double nearly = 1e-5;  // from there one more step leaves nothing
    double tau = -1;
    for (int step = 0; step < 40; ++step) {
        const EntmaxSums at = sums_at<Arch>(x, n, tau, p);
        const double power = p == 1.f ? 1 : std::pow(at.weights, 1 - 1 / double{p});
        tau += (at.weights - power) / at.slope;
        if (at.weights - 1 <= nearly) break;
        if (2 * at.count < static_cast<double>(n)) n = keep_above<Arch>(x, n, static_cast<float>(tau), x);
    }
    return tau;
}

/// For p < 1, where the sum is not convex: Newton's method and halving in turns.
template <class Arch>
double threshold_in_bracket(const float* x, std::int64_t n, float p) {
    constexpr double enough = 2e-6;
    double low = -1, high = 0, tau = low;
    for (int step = 0; step < 60; ++step) {
        const EntmaxSums at = sums_at<Arch>(x, n, tau, p);
        const double excess = at.weights - 1;
        if (std::abs(excess) <= enough) break;
        (excess > 0 ? low : high) = tau;
        const double newton = tau + excess / (double{p} * at.slope);
        tau = newton > low && newton < high && step % 2 == 0 ? newton : (low + high) / 2;
    }
    return tau;
}

template <class Arch>
float weigh_entmax_row(float* s, std::int64_t n, float alpha, float* scratch) {
    using B = simd::Batch<Arch>;
    constexpr float hidden = -std::numeric_limits<float>::infinity();
    const EntmaxRange range = range_of<Arch>(s, n);
    if (!range.is_number || range.max == hidden) {
        const float weight = range.is_number ? 0.f : std::numeric_limits<float>::quiet_NaN();
        simd::map_row<Arch>(s, s, n,
                            [&](B x) ATTENTA_FLATTEN { return xsimd::select(x == B(hidden), B(0.f), B(weight)); });
        return range.is_number ? hidden : weight;
    }
    const float factor = alpha - 1, p = 1 / factor;
    std::int64_t candidates = keep_above<Arch>(s, n, -1, scratch, range.max, factor);
    const double tau =
        p < 1 ? threshold_in_bracket<Arch>(scratch, candidates, p) : threshold_from_below<Arch>(scratch, candidates, p);
    const EntmaxPower<Arch> power(tau, p);
    const float sum =
        simd::sum_row<Arch>(scratch, candidates, [&](B x) ATTENTA_FLATTEN { return power.weight(power.base(x)); });
    const B share(1.f / sum), top(range.max), scale(factor);
    for (std::int64_t i = 0; i < n; i += simd::lanes<Arch>) {
        const B u = power.base((simd::load<Arch>(s + i) - top) * scale);
        B w(0.f);
        if (simd::bits_of<Arch>(u > B(0.f)) != 0) w = power.weight(u) * share;
        w.store_unaligned(s + i);
    }
    return static_cast<float>(double{range.max} + tau / double{factor});
}

ATTENTA_DEFINE_KERNEL(EntmaxRow, entmax_row, &weigh_entmax_row<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
