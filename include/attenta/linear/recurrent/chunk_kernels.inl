#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/linear/recurrent/chunk.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

/// Sums are doubles: what a float leaves of a sum of some hundreds is an error of every later decay.
template <class Arch>
void chunk_decays(float* g, std::int64_t n, const ChunkDecays& to) {
    using B = simd::Batch<Arch>;
    const auto exp_row = [n](float* x) {
        simd::map_row<Arch>(x, x, n, [](B v) ATTENTA_FLATTEN { return simd::exp_nonpositive<Arch>(v); });
    };
    double before = 0, behind = 0;
    for (std::int64_t t = 0; t < n; ++t) {
        // The exponential is 0 there, and no inf - inf comes about. In this order NaN stays.
        g[t] = std::max(g[t], -104.f);
        before += static_cast<double>(g[t]);
        to.from_start[t] = static_cast<float>(before);
    }
    for (std::int64_t t = n; t-- > 0; behind += static_cast<double>(g[t])) to.to_end[t] = static_cast<float>(behind);
    exp_row(to.from_start), exp_row(to.to_end), exp_row(g);
    for (std::int64_t t = 0; t < n; ++t) {
        float* const now = to.between + t * to.stride;
        if (t > 0)
            simd::map_row<Arch>(now - to.stride, now, t, [decay = B(g[t])](B v) ATTENTA_FLATTEN { return v * decay; });
        now[t] = 1.f;
        std::fill(now + t + 1, now + n, 0.f);
    }
}

template <class Arch>
void weigh_token_pairs(const TokenPairs& p) {
    for (std::int64_t group = 0; group < p.groups; ++group)
        for (std::int64_t t = 0; t < p.n; ++t) {
            float* const row = p.pairs + (group * p.n + t) * p.stride;
            simd::multiply_row<Arch>(row, p.weights + t * p.weights_stride, t + 1);
            std::fill(row + t + 1, row + p.n, 0.f);
        }
}

template <class Arch>
void scale_rows(const ScaledRows& r) {
    using B = simd::Batch<Arch>;
    for (std::int64_t i = 0; i < r.rows; ++i) {
        const float factor = r.factors ? r.factor * r.factors[i] : r.factor;
        float* const y = r.y + i * r.y_stride;
        if (r.add)
            simd::add_row<Arch>(y, r.x + i * r.x_stride, r.dim, factor);
        else
            simd::map_row<Arch>(r.x + i * r.x_stride, y, r.dim, [f = B(factor)](B v) ATTENTA_FLATTEN { return v * f; });
    }
}

template <class Arch>
std::int64_t count_finite_rows(const float* x, std::int64_t stride, std::int64_t rows, std::int64_t dim) {
    std::int64_t i = 0;
    while (i < rows && simd::is_finite_row<Arch>(x + i * stride, dim)) ++i;
    return i;
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(ChunkDecaysFunction, chunk_decays, &kernels::chunk_decays<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(TokenPairsFunction, weigh_token_pairs, &kernels::weigh_token_pairs<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(ScaleRows, scale_rows, &kernels::scale_rows<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(CountFiniteRows, count_finite_rows, &kernels::count_finite_rows<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
