#pragma once

#include <attenta/simd/math.hpp>

ATTENTA_BEGIN

namespace simd {

/// log(1 + e^x), relative error below 1e-6 as long as it is a normal float; NaN stays NaN.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> softplus(Batch<Arch> x) {
    using B = Batch<Arch>;
    const B e = exp_nonpositive<Arch>(-xsimd::abs(x));
    return max<Arch>(B(0.f), x) + log_with_complement<Arch>(B(1.f) + e, -e);
}

}  // namespace simd

ATTENTA_END
