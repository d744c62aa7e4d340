#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/engine/score/own_edit.hpp>
#include <attenta/lowrank/kernels.hpp>
#include <attenta/simd/exact_dot.hpp>
#include <attenta/simd/kv_rows.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace lowrank {

namespace kernels {

template <class Arch>
void store_to_end(float* row, std::int64_t c, std::int64_t dim, simd::Batch<Arch> x) {
    if (c + simd::lanes<Arch> <= dim)
        x.store_unaligned(row + c);
    else
        simd::store_part<Arch>(row + c, x, dim - c);
}

template <class Arch>
void weighted_sum(const Rows& rows, const float* weights, float factor, bool add, float* to) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>, block = 128;
    const FlushToZero flush;
    simd::for_pieces<Arch, 4, 1, float>(
        rows.dim, [&]<int N>(std::integral_constant<int, N>, std::int64_t c, auto&& read) ATTENTA_FLATTEN {
            B total[static_cast<std::size_t>(N)];
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { total[n] = B(0.f); });
            for (std::int64_t first = 0; first < rows.count; first += block) {
                B sum[static_cast<std::size_t>(N)];
                simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { sum[n] = B(0.f); });
                for (std::int64_t i = first; i < std::min(first + block, rows.count); ++i) {
                    const B weight(weights ? weights[i] : 1.f);
                    const float* const x = rows.data + i * rows.stride + c;
                    simd::unrolled<N>(
                        [&](auto n) ATTENTA_FLATTEN { sum[n] = simd::fma<Arch>(weight, read(x + n * L), sum[n]); });
                }
                simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { total[n] = total[n] + sum[n]; });
            }
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                const B before = add ? read(to + c + n * L) : B(0.f);
                store_to_end<Arch>(to, c + n * L, rows.dim, simd::fma<Arch>(total[n], B(factor), before));
            });
        });
}

template <class Arch>
void row_products(const float* x, const Rows& rows, float* to) {
    const FlushToZero flush;
    for (std::int64_t i = 0; i < rows.count; ++i)
        to[i] = simd::sum_products<Arch>(x, rows.data + i * rows.stride, rows.dim);
}

template <class Arch>
void squared_norms(const Rows& rows, float factor, float* to) {
    const FlushToZero flush;
    for (std::int64_t i = 0; i < rows.count; ++i) {
        const float* const x = rows.data + i * rows.stride;
        to[i] = factor * simd::sum_products<Arch>(x, x, rows.dim);
    }
}

template <class Arch>
float squared_distance(const float* x, const float* y, std::int64_t n) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    B sum(0.f);
    std::int64_t i = 0;
    for (; i + L <= n; i += L) {
        const B d = simd::load<Arch>(x + i) - simd::load<Arch>(y + i);
        sum = simd::fma<Arch>(d, d, sum);
    }
    if (i < n) {
        const B d = simd::load_part<Arch>(x + i, n - i) - simd::load_part<Arch>(y + i, n - i);
        sum = simd::fma<Arch>(d, d, sum);
    }
    return simd::reduce_add<Arch>(sum);
}

template <class Arch>
float gaussian_row(const float* x, const Rows& rows, float factor, float* to) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    for (std::int64_t i = 0; i < rows.count; ++i)
        to[i] = -factor * squared_distance<Arch>(x, rows.data + i * rows.stride, rows.dim);
    simd::map_row<Arch>(to, to, rows.count, [](B s) ATTENTA_FLATTEN { return simd::exp_nonpositive<Arch>(s); });
    return simd::sum_row<Arch>(to, rows.count, [](B p) ATTENTA_FLATTEN { return p; });
}

template <class Arch>
void scale_by_exp(float* rows, std::int64_t stride, std::int64_t count, std::int64_t dim, const float* log) {
    using B = simd::Batch<Arch>;
    const FlushToZero flush;
    for (std::int64_t i = 0; i < count; ++i) {
        const B factor = simd::exp<Arch>(B(log[i]));
        float* const x = rows + i * stride;
        simd::map_row<Arch>(x, x, dim, [&](B y) ATTENTA_FLATTEN { return y * factor; });
    }
}

/// The scores of `n` tokens, which fill a vector or a part of one.
template <class Arch, class Load, class Store>
ATTENTA_ALWAYS_INLINE void finish_tokens(const LamaScores& x, std::int64_t t, Load&& load, Store&& store) {
    using B = simd::Batch<Arch>;
    B largest(0.f);
    for (std::int64_t h = 0; h < x.heads; ++h) {
        B f = load(x.scores + h * x.stride + t) * B(x.gain[h]);
        if (x.tanh) f = simd::tanh<Arch>(f);
        store(x.scores + h * x.stride + t, f);
        const B size = xsimd::abs(f);
        largest = xsimd::select(size > largest, size, largest);
    }
    if (!x.normalize) return;
    // Squares of numbers relative to the largest neither overflow nor vanish.
    const B unit = xsimd::select(largest > B(0.f), largest, B(1.f));
    B squares(0.f);
    for (std::int64_t h = 0; h < x.heads; ++h) {
        const B f = simd::divide<Arch>(load(x.scores + h * x.stride + t), unit);
        squares = simd::fma<Arch>(f, f, squares);
    }
    const B norm = xsimd::select(squares == B(0.f), B(1.f), xsimd::sqrt(squares));
    for (std::int64_t h = 0; h < x.heads; ++h) {
        float* const f = x.scores + h * x.stride + t;
        store(f, simd::divide<Arch>(simd::divide<Arch>(load(f), unit), norm));
    }
}

template <class Arch>
void finish_lama_scores(const LamaScores& x) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    std::int64_t t = 0;
    for (; t + L <= x.tokens; t += L)
        finish_tokens<Arch>(
            x, t, [](const float* p) ATTENTA_FLATTEN { return simd::load<Arch>(p); },
            [](float* p, B f) ATTENTA_FLATTEN { f.store_unaligned(p); });
    if (const std::int64_t n = x.tokens - t; n > 0)
        finish_tokens<Arch>(
            x, t, [n](const float* p) ATTENTA_FLATTEN { return simd::load_part<Arch>(p, n); },
            [n](float* p, B f) ATTENTA_FLATTEN { simd::store_part<Arch>(p, f, n); });
}

template <class Arch>
void exact_products(const float* x, const Rows& rows, const std::int32_t* keys, std::int64_t count, double factor,
                    double* to) {
    for (std::int64_t i = 0; i < count; ++i)
        to[i] = factor * simd::exact_dot<Arch>(x, rows.data + keys[i] * rows.stride, rows.dim);
}

}  // namespace kernels

ATTENTA_DEFINE_KERNEL(WeightedSum, weighted_sum, &kernels::weighted_sum<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(RowProducts, row_products, &kernels::row_products<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(SquaredNorms, squared_norms, &kernels::squared_norms<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(GaussianRow, gaussian_row, &kernels::gaussian_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(ScaleByExp, scale_by_exp, &kernels::scale_by_exp<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(FinishLamaScores, finish_lama_scores, &kernels::finish_lama_scores<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(ExactProducts, exact_products, &kernels::exact_products<simd::NativeArch>)

template <class Arch>
void Gaussian::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const QueryRow& row = t.row(r);
        const B of_query(query[row.head * queries + row.index]);
        const float* const of_keys = key + row.head * keys + block.begin;
        float* const s = t.raw().s + r * t.raw().stride;
        // Rounding may leave a distance below 0.
        for (std::int64_t i = 0; i < block.count; i += simd::lanes<Arch>)
            simd::min<Arch>(B(0.f), simd::load<Arch>(s + i) - (of_query + simd::load<Arch>(of_keys + i)))
                .store_unaligned(s + i);
    }
}

ATTENTA_DEFINE_EDIT(Gaussian)

}  // namespace lowrank

ATTENTA_END
