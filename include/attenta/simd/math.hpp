// Elementary functions on batches. Errors were measured over all floats of the range (tests/simd/math_test.cpp).
#pragma once

#include <attenta/simd/vector.hpp>

#include <limits>

ATTENTA_BEGIN

namespace simd {

/// 2^f for |f| <= 1/2.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> exp2_fraction(Batch<Arch> f) {
    using B = Batch<Arch>;
    B p = B(0.00015345811f);
    p = fma<Arch>(p, f, B(0.00133999309f));
    p = fma<Arch>(p, f, B(0.00961848907f));
    p = fma<Arch>(p, f, B(0.0555032864f));
    p = fma<Arch>(p, f, B(0.240226462f));
    p = fma<Arch>(p, f, B(0.693147182f));
    return fma<Arch>(p, f, B(1.f));
}

/// 2^n as a float, for integers -127 <= n <= 127 in float representation with `magic` added; 2^-127 gives 0.
/// The sum x + magic leaves round(x) + 127 in the low bits of the mantissa.
inline constexpr float round_magic = 0x1.8p23f + 127.f;

template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> power_of_two(Batch<Arch> with_magic) {
    return float_of<Arch>(bits_of<Arch>(with_magic) << 23);
}

/// The weight e^x of a score x <= 0 below the maximum, exactly 1 at 0 and exactly 0 from -88.03 down (so -inf gives 0), NaN
/// stays NaN. Within 2 ulp and 2e-8 |x|, which is what the float log2 e leaves.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> exp_weight(Batch<Arch> x) {
    using B = Batch<Arch>;
    constexpr float log2e = 1.44269504f;
    x = max<Arch>(B(-127.f / log2e), x);
    const B t = fma<Arch>(x, B(log2e), B(round_magic));
    const B n = t - B(round_magic);
    return exp2_fraction<Arch>(fma<Arch>(x, B(log2e), -n)) * power_of_two<Arch>(t);
}

/// e^r for |r| <= ln 2 / 2: 1 + r + r² q(r), q by minimax, in short chains, of which more run side by side.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> exp_fraction(Batch<Arch> r) {
    using B = Batch<Arch>;
    const B u = r * r;
    const B low = fma<Arch>(r, B(0.166665196f), B(0.49999994f)),
            high = fma<Arch>(r, B(0.00836885069f), B(0.0416684002f));
    return fma<Arch>(u, fma<Arch>(u, fma<Arch>(u, B(0.00138143206f), high), low), B(1.f) + r);
}

/// e^x = fraction · 2^n: the fraction, and in `with_magic` n + round_magic.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> exp_parts(Batch<Arch> x, Batch<Arch>& with_magic) {
    using B = Batch<Arch>;
    constexpr float ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
    with_magic = fma<Arch>(x, B(1.44269504f), B(round_magic));
    const B n = with_magic - B(round_magic);
    return exp_fraction<Arch>(fma<Arch>(n, B(-ln2_low), fma<Arch>(n, B(-ln2_high), x)));
}

/// e^x within 2 ulp; 0 below the normal floats, inf above the largest, NaN stays NaN.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> exp(Batch<Arch> x) {
    using B = Batch<Arch>;
    const B clamped = min<Arch>(B(89.f), max<Arch>(B(-88.1f), x));
    B t;
    const B fraction = exp_parts<Arch>(clamped, t);
    // 2^128 is no float: above 0 the last factor 2 comes separately.
    const B two = xsimd::select(x > B(0.f), B(1.f), B(0.f));
    const B p = fraction * power_of_two<Arch>(t - two) * (B(1.f) + two);
    const B low = xsimd::select(x < B(-87.33654f), B(0.f), p);
    const B high = xsimd::select(x > B(88.722839f), B(std::numeric_limits<float>::infinity()), low);
    return xsimd::select(x == x, high, x);
}

/// e^x for x <= 0 within 2 ulp; below the normal floats within the least of them, exactly 0 from -88 down (so -inf gives
/// 0); NaN stays NaN.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> exp_nonpositive(Batch<Arch> x) {
    using B = Batch<Arch>;
    B t;
    const B fraction = exp_parts<Arch>(max<Arch>(B(-88.f), x), t);
    return fraction * power_of_two<Arch>(t);
}

/// 2^x for x <= 0 within 2 ulp; exactly 0 from -127 down, NaN stays NaN.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> exp2_nonpositive(Batch<Arch> x) {
    using B = Batch<Arch>;
    x = max<Arch>(B(-127.f), x);
    const B t = x + B(round_magic), f = x - (t - B(round_magic)), u = f * f;
    const B low = fma<Arch>(f, B(0.693147182f), B(1.f)), middle = fma<Arch>(f, B(0.0555032864f), B(0.240226462f)),
            high = fma<Arch>(f, B(0.00133999309f), B(0.00961848907f));
    return fma<Arch>(u, fma<Arch>(u, fma<Arch>(u, B(0.00015345811f), high), middle), low) * power_of_two<Arch>(t);
}

/// e^x 2^-n, the same bits for every integer n while it is a normal float; 0 below, inf above them.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> scaled_exp(Batch<Arch> x, Batch<Arch> n) {
    using B = Batch<Arch>;
    const B clamped = min<Arch>(B(1000.f), max<Arch>(B(-1000.f), x));
    B t;
    const B fraction = exp_parts<Arch>(clamped, t);
    const B power = t - B(round_magic) - n;
    const B p = fraction * power_of_two<Arch>(min<Arch>(B(127.f), max<Arch>(B(-127.f), power)) + B(round_magic));
    const B high = xsimd::select(power > B(127.f), B(std::numeric_limits<float>::infinity()), p);
    return xsimd::select(x == x, high, x);
}

/// e^x - 1 for x <= 0 without cancellation, relative error below 3e-7.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> expm1_nonpositive(Batch<Arch> x) {
    using B = Batch<Arch>;
    B p = B(1.f / 5040.f);  // Taylor: the next term is below 1e-8 for |x| < 1/2
    p = fma<Arch>(p, x, B(1.f / 720.f));
    p = fma<Arch>(p, x, B(1.f / 120.f));
    p = fma<Arch>(p, x, B(1.f / 24.f));
    p = fma<Arch>(p, x, B(1.f / 6.f));
    p = fma<Arch>(p, x, B(0.5f));
    const B small = fma<Arch>(p * x, x, x);
    return xsimd::select(x > B(-0.5f), small, exp_nonpositive<Arch>(x) - B(1.f));
}

/// scale · tanh x with `scaled` = scale · x, which small results are made of: x may have become 0 on the way. Absolute error
/// below 2e-7 |scale|, relative error below 3e-7.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> scaled_tanh(Batch<Arch> x, Batch<Arch> scale, Batch<Arch> scaled) {
    using B = Batch<Arch>;
    const B a = min<Arch>(B(44.f), xsimd::abs(x)), u = a * a;
    B p = B(-0.00551516563f);
    p = fma<Arch>(p, u, B(0.0204694215f));
    p = fma<Arch>(p, u, B(-0.0536880232f));
    p = fma<Arch>(p, u, B(0.133308306f));
    p = fma<Arch>(p, u, B(-0.333332598f));
    const B small = fma<Arch>(p * u, scaled, scaled);
    const B large = B(1.f) - divide<Arch>(B(2.f), exp<Arch>(a + a) + B(1.f));
    return xsimd::select(a < B(0.65f), small, scale * xsimd::copysign(large, x));
}

/// tanh x, absolute error below 2e-7 and relative error below 3e-7.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> tanh(Batch<Arch> x) {
    return scaled_tanh<Arch>(x, Batch<Arch>(1.f), x);
}

/// 1 / (1 + e^-x), relative error below 5e-7 as long as it is a normal float.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> sigmoid(Batch<Arch> x) {
    using B = Batch<Arch>;
    const B e = exp_nonpositive<Arch>(-xsimd::abs(x));  // of large -x it would overflow
    return divide<Arch>(xsimd::select(x < B(0.f), e, B(1.f)), B(1.f) + e);
}

/// x / (1 + e^-x), where neither factor overflows.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> silu(Batch<Arch> x) {
    return x * sigmoid<Arch>(x);
}

/// log x of a normal x > 0. `less` is 1 - x with all its digits, which x near 1 has lost. Relative error below 3e-7,
/// NaN stays NaN.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> log_with_complement(Batch<Arch> x, Batch<Arch> less) {
    using B = Batch<Arch>;
    constexpr float root_half = 0.707106781f, ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
    // x = m 2^n with m in [sqrt 1/2, sqrt 2). An integer below 2^23 is the lowest bits of that integer + 2^23.
    constexpr std::int32_t bits_of_1 = 0x3f800000, bits_of_2_23 = 0x4b000000;
    const auto exponent = bits_of<Arch>(x * B(1.f / root_half)) >> 23;
    const B n = float_of<Arch>(exponent + bits_of_2_23) - B(0x1p23f + 127.f);
    const B m = float_of<Arch>(bits_of<Arch>(x) - (exponent << 23) + bits_of_1);
    const B r = xsimd::select(xsimd::abs(less) < B(0.25f), -less, m - B(1.f)), u = r * r;
    // Even and odd powers side by side: a chain of half the length.
    B even = fma<Arch>(u, B(7.0376836292e-2f), B(1.1676998740e-1f)),
      odd = fma<Arch>(u, B(-1.1514610310e-1f), B(-1.2420140846e-1f));
    even = fma<Arch>(u, even, B(1.4249322787e-1f));
    odd = fma<Arch>(u, odd, B(-1.6668057665e-1f));
    even = fma<Arch>(u, even, B(2.0000714765e-1f));
    odd = fma<Arch>(u, odd, B(-2.4999993993e-1f));
    even = fma<Arch>(u, even, B(3.3333331174e-1f));
    const B p = fma<Arch>(r, odd, even);
    const B tail = fma<Arch>(n, B(ln2_low), fma<Arch>(p * r, u, u * B(-0.5f)));
    return xsimd::select(x == x, fma<Arch>(n, B(ln2_high), r + tail), x);
}

/// log(1 + e^x) without overflow, relative error below 5e-7, NaN stays NaN.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> softplus(Batch<Arch> x) {
    using B = Batch<Arch>;
    const B e = exp_nonpositive<Arch>(-xsimd::abs(x));
    return max<Arch>(B(0.f), x) + log_with_complement<Arch>(B(1.f) + e, -e);
}

/// sin x and cos x for |x| <= 4, absolute error below 2e-7.
template <class Arch>
ATTENTA_ALWAYS_INLINE void sin_cos(Batch<Arch> x, Batch<Arch>& sine, Batch<Arch>& cosine) {
    using B = Batch<Arch>;
    constexpr float magic = 0x1.8p23f, two_over_pi = 0.636619772f, half_pi_high = 0x1.92p0f,
                    half_pi_low = 0x1.fb5444p-12f;
    const B t = fma<Arch>(x, B(two_over_pi), B(magic)), n = t - B(magic);
    const B r = fma<Arch>(n, B(-half_pi_low), fma<Arch>(n, B(-half_pi_high), x)), u = r * r;
    B s = fma<Arch>(u, B(-1.9515295891e-4f), B(8.3321608736e-3f));
    s = fma<Arch>(s, u, B(-1.6666654611e-1f));
    s = fma<Arch>(s * u, r, r);
    B c = fma<Arch>(u, B(2.443315711809948e-5f), B(-1.388731625493765e-3f));
    c = fma<Arch>(c, u, B(4.166664568298827e-2f));
    c = fma<Arch>(c * u, u, fma<Arch>(u, B(-0.5f), B(1.f)));
    // Odd quarters of a turn swap the two; bit 1 of the number of quarters is a sign.
    const auto quarters = bits_of<Arch>(t);
    const auto odd = float_of<Arch>((quarters & 1) << 29) > B(0.f);
    sine = float_of<Arch>(bits_of<Arch>(xsimd::select(odd, c, s)) ^ ((quarters & 2) << 30));
    cosine = float_of<Arch>(bits_of<Arch>(xsimd::select(odd, s, c)) ^ (((quarters + 1) & 2) << 30));
}

}  // namespace simd

ATTENTA_END
