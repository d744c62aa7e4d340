#pragma once

#include <attenta/engine/score/own_edit.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/variants/network/kernels.hpp>

#include <algorithm>
#include <cstdint>

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

/// sums[i] += what four channels from `a` on have, from exponentials, for whole vectors of `count` keys. A divisor of 2^30 stands for
/// all above it: their share is below 1e-9, and four of them make a product that is a float.
template <class Arch>
void add_channels(const TanhScores& x, std::int64_t a, const float* q, const float* k, std::int64_t count,
                  float* sums) {
    using B = simd::Batch<Arch>;
    const std::int64_t stride = x.exponential.key_stride;
    const float* const w = x.minus_2v + a;
    const B one(1.f), largest(0x1p30f), q0(q[a]), q1(q[a + 1]), q2(q[a + 2]), q3(q[a + 3]), w0(w[0]), w1(w[1]),
        w2(w[2]), w3(w[3]);
    k += a * stride;
    for (std::int64_t i = 0; i < count; i += simd::lanes<Arch>) {
        const auto divisor = [&](B of_query, std::int64_t row) ATTENTA_FLATTEN {
            return simd::min<Arch>(largest, simd::fma<Arch>(of_query, simd::load<Arch>(k + row * stride + i), one));
        };
        const B d0 = divisor(q0, 0), d1 = divisor(q1, 1), d2 = divisor(q2, 2), d3 = divisor(q3, 3), d01 = d0 * d1,
                d23 = d2 * d3;
        const B n01 = simd::fma<Arch>(w0, d1, w1 * d0), n23 = simd::fma<Arch>(w2, d3, w3 * d2);
        (simd::load<Arch>(sums + i) + simd::divide<Arch>(simd::fma<Arch>(n01, d23, n23 * d01), d01 * d23))
            .store_unaligned(sums + i);
    }
}

/// put(i, scores) for the vectors of keys begin, begin + 1, … of a query's row. Channels are the outer loop: rows of keys lie on pages
/// of their own.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_scores(const TanhScores& x, std::int64_t head, std::int64_t query, std::int64_t begin,
                                      std::int64_t count, F&& put) {
    constexpr std::int64_t L = simd::lanes<Arch>, block = ScoreTile::most_keys;
    const float *const plain = x.plain.query_row(head, query), *const q = x.exponential.query_row(head, query),
                       *const size = x.key_size + head / x.plain.group * x.plain.key_stride + begin;
    const simd::Batch<Arch> most(TanhScores::most);
    const bool large = x.query_size[head * x.plain.queries + query] > TanhScores::most;
    for (std::int64_t first = 0; first < count; first += block) {
        const std::int64_t n = std::min(block, count - first);
        float sums[block];
        std::fill_n(sums, (n + L - 1) / L * L, x.sum_of_v);
        const float* const k = x.exponential.key_column(head, begin + first);
        for (std::int64_t a = 0; !large && a < x.exponential.width; a += TanhScores::channels_at_once)
            add_channels<Arch>(x, a, q, k, n, sums);
        for (std::int64_t i = first; i < first + n; i += L) {
            const bool exact = large || simd::bits_of<Arch>(simd::load<Arch>(size + i) > most) != 0;
            put(i, exact ? exact_scores<Arch>(x, plain, x.plain.key_column(head, begin + i))
                         : simd::load<Arch>(sums + i - first));
        }
    }
}

template <class Arch>
void tanh_scores_of_row(const TanhScores& x, std::int64_t head, std::int64_t query, std::int64_t begin,
                        std::int64_t count, float* to) {
    for_scores<Arch>(x, head, query, begin, count,
                     [&](std::int64_t i, simd::Batch<Arch> s) ATTENTA_FLATTEN { s.store_unaligned(to + i); });
}

/// s[…] += the scores of V vectors of keys, k the first of them: shift + Σ_m w_m relu(W_m h + b_m), a panel of W at a time.
template <class Arch, int V>
ATTENTA_ALWAYS_INLINE void add_relu_scores(const ReluScores& x, const float* q, const float* k, float* s) {
    using B = simd::Batch<Arch>;
    constexpr int P = static_cast<int>(ReluScores::panel);
    constexpr std::int64_t L = simd::lanes<Arch>;
    const B zero(0.f);
    B scores[V];
    simd::unrolled<V>([&](auto v) ATTENTA_FLATTEN { scores[v] = B(x.shift); });
    for (std::int64_t m = 0; m < x.rows; m += P) {
        const float *w = x.panels + m * x.halves.width, *key = k;
        B sums[P][V];
        simd::unrolled<P>([&](auto r) ATTENTA_FLATTEN {
            simd::unrolled<V>([&](auto v) ATTENTA_FLATTEN { sums[r][v] = B(x.bias[m + r]); });
        });
        for (std::int64_t n = 0; n < x.halves.width; ++n, key += x.halves.key_stride, w += P) {
            B hidden[V];
            simd::unrolled<V>([&](auto v) ATTENTA_FLATTEN {
                hidden[v] = simd::max<Arch>(zero, B(q[n]) + simd::load<Arch>(key + v * L));
            });
            simd::unrolled<P>([&](auto r) ATTENTA_FLATTEN {
                const B weight(w[r]);
                simd::unrolled<V>([&](auto v)
                                      ATTENTA_FLATTEN { sums[r][v] = simd::fma<Arch>(weight, hidden[v], sums[r][v]); });
            });
        }
        simd::unrolled<P>([&](auto r) ATTENTA_FLATTEN {
            const B weight(x.weights[m + r]);
            simd::unrolled<V>([&](auto v) ATTENTA_FLATTEN {
                scores[v] = simd::fma<Arch>(weight, simd::max<Arch>(zero, sums[r][v]), scores[v]);
            });
        });
    }
    simd::unrolled<V>([&](auto v)
                          ATTENTA_FLATTEN { (simd::load<Arch>(s + v * L) + scores[v]).store_unaligned(s + v * L); });
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
    constexpr std::int64_t L = simd::lanes<Arch>;
    const KeyBlock& block = t.raw().keys;
    for (std::int64_t r = 0; r < t.rows(); ++r) {
        const QueryRow& row = t.row(r);
        float* const s = t.raw().s + r * t.raw().stride;
        const float *const q = scores->halves.query_row(row.head, row.index), *const k = scores->halves.key_column(
                                                                                  row.head, block.begin);
        std::int64_t i = 0;
        for (; i + L < block.count; i += 2 * L) kernels::add_relu_scores<Arch, 2>(*scores, q, k + i, s + i);
        if (i < block.count) kernels::add_relu_scores<Arch, 1>(*scores, q, k + i, s + i);
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

}  // namespace network

ATTENTA_END
