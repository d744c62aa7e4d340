#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/linear/recurrent/mlstm_kernels.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

/// m is rounded token by token, so that a state goes on from its m as the call would have: a decay is the exact difference of
/// two of these, above 0 by their rounding at most.
template <class Arch>
void mlstm_gates(const MlstmGates& gates, std::int64_t n, bool logits, float past) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    if (logits)
        simd::map_row<Arch>(gates.decays, gates.decays, n,
                            [](B f) ATTENTA_FLATTEN { return B(0.f) - simd::softplus<Arch>(B(0.f) - f); });
    for (std::int64_t t = 0; t < n; ++t) {
        const double kept = static_cast<double>(gates.decays[t]) + static_cast<double>(past);
        const auto rounded = static_cast<float>(kept);
        past = rounded >= gates.weights[t] || rounded != rounded ? rounded : gates.weights[t];  // NaN stays
        gates.decays[t] = static_cast<float>(kept - static_cast<double>(past));
        gates.weights[t] -= past;
        gates.maxima[t] = past;
    }
    simd::map_row<Arch>(gates.weights, gates.weights, n,
                        [](B w) ATTENTA_FLATTEN { return simd::exp_nonpositive<Arch>(w); });
}

template <class Arch>
float mlstm_keys(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    const MlstmKeys& p = *static_cast<const MlstmKeys*>(r.parameters);
    simd::map_row<Arch>(x, y, r.dim,
                        [scale = B(p.scale), weight = B(p.weights[r.head * p.tokens + r.position])](B v)
                            ATTENTA_FLATTEN { return v * scale * weight; });
    return 0;
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(MlstmGateFunction, mlstm_gates, &kernels::mlstm_gates<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, mlstm_keys, &kernels::mlstm_keys<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
