#pragma once

#include <attenta/simd/atan2.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/softmax/positions/complex_kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// x minus the nearest multiple of 2π, for |x| up to some thousands.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> wrapped(simd::Batch<Arch> x) {
    using B = simd::Batch<Arch>;
    constexpr float magic = 0x1.8p23f, high = 0x1.92p2f, low = 0x1.fb5444p-10f;  // 2π
    const B n = simd::fma<Arch>(x, B(0.159154943f), B(magic)) - B(magic);
    return simd::fma<Arch>(n, B(-low), simd::fma<Arch>(n, B(-high), x));
}

template <class Arch>
void scale_phases_of_row(const float* x, std::int64_t pairs, const float* delta, const float* bias, float* to) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const auto turn = [&](std::int64_t c, auto&& load, auto&& store) ATTENTA_FLATTEN {
        const B re = load(x + c), im = load(x + pairs + c);
        const B magnitude = xsimd::sqrt(simd::fma<Arch>(re, re, simd::fma<Arch>(im, im, B(1e-9f))));
        B phase = load(delta + c) * simd::atan2<Arch>(im, re), sine, cosine;
        if (bias) phase = phase + load(bias + c);
        simd::sin_cos<Arch>(wrapped<Arch>(phase), sine, cosine);
        store(to + c, magnitude * cosine);
        store(to + pairs + c, magnitude * sine);
    };
    std::int64_t c = 0;
    for (; c + L <= pairs; c += L)
        turn(
            c, [](const float* p) ATTENTA_FLATTEN { return simd::load<Arch>(p); },
            [](float* p, B v) ATTENTA_FLATTEN { v.store_unaligned(p); });
    const std::int64_t left = pairs - c;
    if (left > 0)
        turn(
            c, [left](const float* p) ATTENTA_FLATTEN { return simd::load_part<Arch>(p, left); },
            [left](float* p, B v) ATTENTA_FLATTEN { simd::store_part<Arch>(p, v, left); });
}

ATTENTA_DEFINE_KERNEL(ScalePhases, scale_phases, &scale_phases_of_row<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
