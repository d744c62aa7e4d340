#pragma once

#include <attenta/engine/score/own_edit.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/variants/network/kernels.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace network {

namespace kernels {

/// Σ_a v_a tanh(q_a + k_a) of a vector of keys, channel by channel.
template <class Arch>
simd::Batch<Arch> exact_scores(const TanhScores& x, const float* q, const float* k) {
    using B = simd::Batch<Arch>;
    B sum(0.f);
    for (std::int64_t a = 0; a < x.plain.width; ++a, k += x.plain.key_stride)
        sum = simd::fma<Arch>(B(x.v[a]), simd::tanh<Arch>(B(q[a]) + simd::load<Arch>(k)), sum);
    return sum;
}

/// The same from exponentials. A divisor of 2^30 stands for all above it: their share is below 1e-9, and four of them make a
/// product that is a float.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> fast_scores(const TanhScores& x, const float* q, const float* k) {
    using B = simd::Batch<Arch>;
    const std::int64_t stride = x.exponential.key_stride;
    const B one(1.f), largest(0x1p30f);
    B sum(x.sum_of_v);
    for (std::int64_t a = 0; a < x.exponential.width; a += TanhScores::channels_at_once, k += 4 * stride) {
        const auto divisor = [&](std::int64_t i) ATTENTA_FLATTEN {
            return simd::min<Arch>(largest, simd::fma<Arch>(B(q[a + i]), simd::load<Arch>(k + i * stride), one));
        };
        const B d0 = divisor(0), d1 = divisor(1), d2 = divisor(2), d3 = divisor(3), d01 = d0 * d1, d23 = d2 * d3;
        const float* const w = x.minus_2v + a;
        const B n01 = simd::fma<Arch>(B(w[0]), d1, B(w[1]) * d0), n23 = simd::fma<Arch>(B(w[2]), d3, B(w[3]) * d2);
        sum = sum + simd::divide<Arch>(simd::fma<Arch>(n01, d23, n23 * d01), d01 * d23);
    }
    return sum;
}

/// put(i, scores) for the vectors of keys begin, begin + 1, … of a query's row.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_scores(const TanhScores& x, std::int64_t head, std::int64_t query, std::int64_t begin,
                                      std::int64_t count, F&& put) {
    const float *const plain = x.plain.query_row(head, query), *const q = x.exponential.query_row(head, query),
                       *const size = x.key_size + head / x.plain.group * x.plain.key_stride + begin;
    const simd::Batch<Arch> most(TanhScores::most);
    const bool large = x.query_size[head * x.plain.queries + query] > TanhScores::most;
    for (std::int64_t i = 0; i < count; i += simd::lanes<Arch>) {
        const bool exact = large || simd::bits_of<Arch>(simd::load<Arch>(size + i) > most) != 0;
        put(i, exact ? exact_scores<Arch>(x, plain, x.plain.key_column(head, begin + i))
                     : fast_scores<Arch>(x, q, x.exponential.key_column(head, begin + i)));
    }
}

template <class Arch>
void tanh_scores_of_row(const TanhScores& x, std::int64_t begin, std::int64_t count, float* to) {
    for_scores<Arch>(x, 0, 0, begin, count,
                     [&](std::int64_t i, simd::Batch<Arch> s) ATTENTA_FLATTEN { s.store_unaligned(to + i); });
}

/// One panel of W on a vector of keys: Σ_m w_m relu(W_m h + b_m).
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> relu_panel(const ReluScores& x, const float* q, const float* k,
                                                   std::int64_t m) {
    using B = simd::Batch<Arch>;
    constexpr int P = static_cast<int>(ReluScores::panel);
    const B zero(0.f);
    const float* w = x.panels + m * x.halves.width;
    B sums[P];
    simd::unrolled<P>([&](auto r) ATTENTA_FLATTEN { sums[r] = B(x.bias[m + r]); });
    for (std::int64_t n = 0; n < x.halves.width; ++n, k += x.halves.key_stride, w += P) {
        const B hidden = simd::max<Arch>(zero, B(q[n]) + simd::load<Arch>(k));
        simd::unrolled<P>([&](auto r) ATTENTA_FLATTEN { sums[r] = simd::fma<Arch>(B(w[r]), hidden, sums[r]); });
    }
    B score(0.f);
    simd::unrolled<P>([&](auto r) ATTENTA_FLATTEN {
        score = simd::fma<Arch>(B(x.weights[m + r]), simd::max<Arch>(zero, sums[r]), score);
    });
    return score;
}

template <class Arch>
void finish_tanh_keys(const KeyColumns& x) {
    using B = simd::Batch<Arch>;
    for (std::int64_t j = x.begin; j < x.end; j += simd::lanes<Arch>) {
        B size(0.f);
        for (std::int64_t a = 0; a < x.width; ++a) {
            float* const plain = x.plain + a * x.stride + j;
            const B half = simd::load<Arch>(plain) + B(x.bias ? x.bias[a] : 0.f), magnitude = xsimd::abs(half);
            half.store_unaligned(plain);
            simd::exp<Arch>(half + half).store_unaligned(x.exponential + a * x.stride + j);
            size = xsimd::select(magnitude > size, magnitude, size);
        }
        size.store_unaligned(x.size + j);
    }
}

template <class Arch>
float finish_tanh_query(const float* plain, std::int64_t width, float* exponential, std::int64_t padded) {
    using B = simd::Batch<Arch>;
    B size(0.f);
    simd::map_row<Arch>(plain, exponential, width, [&](B x) ATTENTA_FLATTEN {
        size = xsimd::select(xsimd::abs(x) > size, xsimd::abs(x), size);
        return simd::exp<Arch>(x + x);
    });
    std::fill(exponential + width, exponential + padded, 0.f);
    return simd::reduce_max<Arch>(size);
}

template <class Arch>
void sum_tanh_rows(const TanhRows& x, float* to) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    for (std::int64_t i = 0; i < x.count; ++i) {
        const float* const row = x.x + i * x.stride;
        B sum(0.f);
        std::int64_t c = 0;
        for (; c + L <= x.dim; c += L) {
            const B shifted = simd::load<Arch>(row + c) + (x.bias ? simd::load<Arch>(x.bias + c) : B(0.f));
            sum = simd::fma<Arch>(simd::load<Arch>(x.v + c), simd::tanh<Arch>(shifted), sum);
        }
        if (const std::int64_t n = x.dim - c; n > 0) {
            const B shifted =
                simd::load_part<Arch>(row + c, n) + (x.bias ? simd::load_part<Arch>(x.bias + c, n) : B(0.f));
            sum = simd::fma<Arch>(simd::load_part<Arch>(x.v + c, n), simd::tanh<Arch>(shifted), sum);
        }
        to[i] = simd::reduce_add<Arch>(sum);
    }
}

template <class Arch>
void tanh_row(float* x, std::int64_t n) {
    simd::map_row<Arch>(x, x, n, [](simd::Batch<Arch> s) ATTENTA_FLATTEN { return simd::tanh<Arch>(s); });
}

template <class Arch>
void sigmoid_row(float* x, std::int64_t n) {
    simd::map_row<Arch>(x, x, n, [](simd::Batch<Arch> s) ATTENTA_FLATTEN { return simd::sigmoid<Arch>(s); });
}

template <class Arch>
void gated_tanh_row(const float* gate, const float* x, float* to, std::int64_t n) {
    using B = simd::Batch<Arch>;
    simd::map_row<Arch>(gate, to, n, [](B s) ATTENTA_FLATTEN { return simd::sigmoid<Arch>(s); });
    simd::multiply_row_by<Arch>(to, x, n, [](B s) ATTENTA_FLATTEN { return simd::tanh<Arch>(s); });
}

template <class Arch>
float dot_rows(const float* x, const float* y, std::int64_t n) {
    return simd::sum_products<Arch>(x, y, n);
}

template <class Arch>
void scale_row_by(float* x, std::int64_t n, float factor) {
    simd::scale_row<Arch>(x, n, factor);
}

template <class Arch>
float softmax_of_row(float* s, std::int64_t n) {
    using B = simd::Batch<Arch>;
    const float top = simd::row_max<Arch>(s, n), shift = top == -std::numeric_limits<float>::infinity() ? 0.f : top;
    simd::map_row<Arch>(s, s, n, [&](B x) ATTENTA_FLATTEN { return simd::exp_nonpositive<Arch>(x - B(shift)); });
    const float sum = simd::sum_row<Arch>(s, n, [](B x) ATTENTA_FLATTEN { return x; });
    if (sum != 0.f) simd::scale_row<Arch>(s, n, 1.f / sum);
    return shift + std::log(sum);
}

}  // namespace kernels

template <class Arch>
void TanhPairs::operator()(Tile<Arch> t) const {
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        float* const s = t.raw().s + r * t.raw().stride;
        kernels::for_scores<Arch>(*scores, t.row(r).head, t.row(r).index, block.begin, block.count,
                                  [&](std::int64_t i, simd::Batch<Arch> score)
                                      ATTENTA_FLATTEN { (simd::load<Arch>(s + i) + score).store_unaligned(s + i); });
    }
}

template <class Arch>
void ReluPairs::operator()(Tile<Arch> t) const {
    using B = simd::Batch<Arch>;
    const ReluScores& x = *scores;
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const QueryRow& row = t.row(r);
        float* const s = t.raw().s + r * t.raw().stride;
        const float* const q = x.halves.query_row(row.head, row.index);
        for (std::int64_t i = 0; i < block.count; i += simd::lanes<Arch>) {
            const float* const k = x.halves.key_column(row.head, block.begin + i);
            B score(x.shift);
            for (std::int64_t m = 0; m < x.rows; m += ReluScores::panel)
                score = score + kernels::relu_panel<Arch>(x, q, k, m);
            (simd::load<Arch>(s + i) + score).store_unaligned(s + i);
        }
    }
}

template <class Arch>
void ChooseKey::operator()(Tile<Arch> t) const {
    constexpr std::int64_t L = simd::lanes<Arch>;
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const std::int64_t at = t.row(r).head * queries + t.row(r).index;
        Choice& choice = choices[at];
        const float* const w = t.raw().s + r * t.raw().stride;
        for (std::int64_t i = 0; i < block.count && !choice.done; i += L) {
            const std::int64_t n = std::min(L, block.count - i);
            const double limit = u ? static_cast<double>(u[at]) : choice.sum;
            // Most vectors change nothing: they are not looked into.
            if (u == nullptr && n == L &&
                simd::bits_of<Arch>(simd::load<Arch>(w + i) > simd::Batch<Arch>(static_cast<float>(limit))) == 0)
                continue;
            for (std::int64_t j = i; j < i + n && !choice.done; ++j) {
                if (!(w[j] > 0.f)) continue;
                const double weight = static_cast<double>(w[j]);
                if (u) {
                    choice.index = block.begin + j;
                    choice.sum += weight;
                    choice.done = choice.sum > limit;
                } else if (weight > choice.sum) {
                    choice = {block.begin + j, weight, false};
                }
            }
        }
    }
}

ATTENTA_DEFINE_EDIT(TanhPairs)
ATTENTA_DEFINE_EDIT(ReluPairs)
ATTENTA_DEFINE_EDIT(ChooseKey)

ATTENTA_DEFINE_KERNEL(TanhScoresOfRow, tanh_scores_of_row, &kernels::tanh_scores_of_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(FinishKeys, finish_tanh_keys, &kernels::finish_tanh_keys<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(FinishQuery, finish_tanh_query, &kernels::finish_tanh_query<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(SumTanhRows, sum_tanh_rows, &kernels::sum_tanh_rows<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(MapRow, tanh_row, &kernels::tanh_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(MapRow, sigmoid_row, &kernels::sigmoid_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(GateRow, gated_tanh_row, &kernels::gated_tanh_row<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(DotRows, dot_rows, &kernels::dot_rows<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(ScaleRow, scale_row_by, &kernels::scale_row_by<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(SoftmaxRow, softmax_of_row, &kernels::softmax_of_row<simd::NativeArch>)

}  // namespace network

ATTENTA_END
