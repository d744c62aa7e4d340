#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/linear/features/latte_kernels.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

/// A row's next sums of `here` latents from l on.
template <class Arch, class Load, class Store>
ATTENTA_ALWAYS_INLINE void sum_vector(const LatentSums& p, const float* row, std::int64_t l, std::int64_t at,
                                      Load&& load, Store&& store) {
    using B = simd::Batch<Arch>;
    constexpr float below_all = -1e30f;
    const B n = load(p.sum + l), k = load(row + l) * B(p.scale),
            old = xsimd::select(n == B(0.f), B(below_all), load(p.largest + l)), now = simd::max<Arch>(old, k),
            decay = old - now, weight = simd::exp_nonpositive<Arch>(k - now),
            sum = simd::fma<Arch>(simd::exp_nonpositive<Arch>(decay), n, weight);
    store(p.largest + l, now);
    store(p.sum + l, sum);
    store(p.decays + at + l, decay);
    store(p.weights + at + l, weight);
    store(p.inverse + at + l, simd::divide<Arch>(B(1.f), sum));
}

template <class Arch>
void sum_latents(const LatentSums& p) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    for (std::int64_t t = 0; t < p.k.tokens; ++t) {
        const float* const row = p.k.row(p.head, t);
        std::int64_t l = 0;
        for (; l + L <= p.k.dim; l += L)
            sum_vector<Arch>(
                p, row, l, t * p.k.dim, [](const float* x) ATTENTA_FLATTEN { return simd::load<Arch>(x); },
                [](float* y, B v) ATTENTA_FLATTEN { v.store_unaligned(y); });
        const std::int64_t left = p.k.dim - l;
        // What stands behind the latents is 0 and gives 1 / 1.
        if (left > 0)
            sum_vector<Arch>(
                p, row, l, t * p.k.dim,
                [left](const float* x) ATTENTA_FLATTEN { return simd::load_part<Arch>(x, left); },
                [left](float* y, B v) ATTENTA_FLATTEN { simd::store_part<Arch>(y, v, left); });
    }
}

template <class Arch>
float latent_shares(const scan::FeatureRow& r, const float* x, float* y) {
    using B = simd::Batch<Arch>;
    const LatentShares& p = *static_cast<const LatentShares*>(r.parameters);
    const std::int64_t key = p.first + r.position * p.per_row;
    const float* const inverse = p.inverse + (r.state_head * p.keys + key) * r.features;
    simd::map_row<Arch>(x + p.skipped, y, r.features, [s = B(p.scale)](B v) ATTENTA_FLATTEN { return v * s; });
    float top = simd::row_max<Arch>(y, r.features), sum = 0;
    if (p.skipped) {
        const float first = *x * p.scale;
        top = top < first ? first : top;
        sum = std::exp(first - top);
    }
    simd::map_row<Arch>(y, y, r.features,
                        [m = B(top)](B v) ATTENTA_FLATTEN { return simd::exp_nonpositive<Arch>(v - m); });
    sum += simd::sum_row<Arch>(y, r.features, [](B v) ATTENTA_FLATTEN { return v; });
    simd::multiply_row_by<Arch>(y, inverse, r.features, [f = B(1.f / sum)](B v) ATTENTA_FLATTEN { return v * f; });
    return 0;
}

/// f(scaled, count) for parts of the scaled logits.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_scaled(const float* logits, std::int64_t n, float scale, F&& f) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t most = 256;
    float scaled[most];
    for (std::int64_t i = 0; i < n; i += most) {
        const std::int64_t count = std::min(most, n - i);
        simd::map_row<Arch>(logits + i, scaled, count, [s = B(scale)](B v) ATTENTA_FLATTEN { return v * s; });
        f(scaled, count);
    }
}

template <class Arch>
void add_first_share(const float* logits, std::int64_t n, float scale, const float* near, std::int64_t dim_v,
                     float* o) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    const float first = *logits * scale;
    float top = first, sum = 0;
    for_scaled<Arch>(logits, n, scale, [&](float* x, std::int64_t count) {
        const float here = simd::row_max<Arch>(x, count);
        top = top < here ? here : top;
    });
    for_scaled<Arch>(logits, n, scale, [&](float* x, std::int64_t count) {
        simd::map_row<Arch>(x, x, count, [&](B v) ATTENTA_FLATTEN { return simd::exp_nonpositive<Arch>(v - B(top)); });
        sum += simd::sum_row<Arch>(x, count, [](B v) ATTENTA_FLATTEN { return v; });
    });
    simd::add_row<Arch>(o, near, dim_v, std::exp(first - top) / sum);
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(SumLatents, sum_latents, &kernels::sum_latents<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(scan::FeatureFunction, latent_shares, &kernels::latent_shares<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(AddFirstShare, add_first_share, &kernels::add_first_share<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
