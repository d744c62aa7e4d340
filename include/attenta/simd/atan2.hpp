// The angle of a point.
#pragma once

#include <attenta/simd/vector.hpp>

ATTENTA_BEGIN

namespace simd {

/// Angle of (x, y) in [−π, π], absolute error below 5e-7; the sign of zeros counts as in std::atan2, NaN stays NaN.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> atan2(Batch<Arch> y, Batch<Arch> x) {
    using B = Batch<Arch>;
    constexpr float pi = 3.14159265f;
    const B ax = xsimd::abs(x), ay = xsimd::abs(y), large = max<Arch>(ax, ay), small = min<Arch>(ax, ay);
    // Of two zeros or infinities the quotient is no number.
    const B quotient = divide<Arch>(small, xsimd::select(large > B(0.f), large, B(1.f)));
    const B t = xsimd::select(small == large, xsimd::select(large > B(0.f), B(1.f), B(0.f)), quotient);
    // atan t = π/4 + atan((t − 1) / (t + 1)); what is left is below tan π/8.
    const auto beyond = t > B(0.414213562f);
    const B r = xsimd::select(beyond, divide<Arch>(t - B(1.f), t + B(1.f)), t), u = r * r;
    B p = fma<Arch>(u, B(8.05374449538e-2f), B(-1.38776856032e-1f));
    p = fma<Arch>(p, u, B(1.99777106478e-1f));
    p = fma<Arch>(p, u, B(-3.33329491539e-1f));
    B angle = fma<Arch>(p * u, r, r) + xsimd::select(beyond, B(pi / 4), B(0.f));
    angle = xsimd::select(ay > ax, B(pi / 2) - angle, angle);
    angle = xsimd::select(xsimd::copysign(B(1.f), x) < B(0.f), B(pi) - angle, angle);
    const B sum = x + y;
    return xsimd::select(sum == sum || (x == x && y == y), xsimd::copysign(angle, y), sum);
}

}  // namespace simd

ATTENTA_END
