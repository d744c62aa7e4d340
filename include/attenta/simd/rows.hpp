// Work on rows of scores in cache, and on unpacked rows of K and V.
#pragma once

#include <attenta/simd/arch.hpp>
#include <attenta/simd/later.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/transpose.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace simd {

/// Replaces scores [begin, end) whose bit is not set by -inf. begin and end are multiples of lanes.
template <class Arch>
ATTENTA_ALWAYS_INLINE void mask_row(float* s, std::int64_t begin, std::int64_t end, const std::uint64_t* words) {
    const Batch<Arch> hidden(-std::numeric_limits<float>::infinity());
    constexpr std::uint64_t lane_mask = (std::uint64_t{1} << lanes<Arch>)-1;
    for (std::int64_t i = begin; i < end; i += lanes<Arch>) {
        const auto bits = static_cast<std::uint32_t>((words[i / 64] >> (i % 64)) & lane_mask);
        keep<Arch>(bits, load<Arch>(s + i), hidden).store_unaligned(s + i);
    }
}

/// The largest elements of s in the lanes of a vector; n is a multiple of lanes. NaN do not count.
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> row_tops(const float* s, std::int64_t n) {
    Batch<Arch> a = load<Arch>(s), b = a;
    std::int64_t i = lanes<Arch>;
    for (; i + lanes<Arch> < n; i += 2 * lanes<Arch>) {
        a = at_least<Arch>(a, load<Arch>(s + i));
        b = at_least<Arch>(b, load<Arch>(s + i + lanes<Arch>));
    }
    if (i < n) a = at_least<Arch>(a, load<Arch>(s + i));
    return at_least<Arch>(a, b);
}

/// Lane i of the result is the largest element of rows[i].
template <class Arch>
ATTENTA_ALWAYS_INLINE Batch<Arch> largest_of_rows(const Batch<Arch> (&rows)[static_cast<std::size_t>(lanes<Arch>)]) {
#if defined(ATTENTA_AVX512)
    return join_rows(rows, [](__m512 a, __m512 b) ATTENTA_FLATTEN { return _mm512_max_ps(a, b); });
#else
    constexpr int L = static_cast<int>(lanes<Arch>);
    Batch<Arch> column[static_cast<std::size_t>(L)];
    unrolled<L>([&](auto i) ATTENTA_FLATTEN { column[i] = rows[i]; });
    transpose<Arch>(column);
    unrolled<L - 1>([&](auto i) ATTENTA_FLATTEN { column[0] = at_least<Arch>(column[0], column[i + 1]); });
    return column[0];
#endif
}

/// s ← finish(exp(s − shift)), returns the sums of the vectors' lanes. n is a multiple of lanes.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE Batch<Arch> row_weights(float* s, std::int64_t n, float shift, F&& finish) {
    const Batch<Arch> top(shift);
    Batch<Arch> sum(0.f);
    for (std::int64_t i = 0; i < n; i += lanes<Arch>) {
        const Batch<Arch> p = finish(exp_weight<Arch>(load<Arch>(s + i) - top));
        p.store_unaligned(s + i);
        sum = sum + p;
    }
    return sum;
}

/// y[i] = f(x[i]); y may be x.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE void map_row(const float* x, float* y, std::int64_t n, F&& f) {
    std::int64_t i = 0;
    for (; i + lanes<Arch> <= n; i += lanes<Arch>) f(load<Arch>(x + i)).store_unaligned(y + i);
    if (i < n) store_part<Arch>(y + i, f(load_part<Arch>(x + i, n - i)), n - i);
}

/// y[i] = x[i], any type that is loaded as float.
template <class Arch, class T>
ATTENTA_ALWAYS_INLINE void widen_row(const T* x, float* y, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + lanes<Arch> <= n; i += lanes<Arch>) load<Arch>(x + i).store_unaligned(y + i);
    if (i < n) store_part<Arch>(y + i, load_part<Arch>(x + i, n - i), n - i);
}

/// Σ f(x[i]), with f(0) = 0.
template <class Arch, class F>
ATTENTA_ALWAYS_INLINE float sum_row(const float* x, std::int64_t n, F&& f) {
    Batch<Arch> even(0.f), odd(0.f);
    std::int64_t i = 0;
    for (; i + 2 * lanes<Arch> <= n; i += 2 * lanes<Arch>) {
        even = even + f(load<Arch>(x + i));
        odd = odd + f(load<Arch>(x + i + lanes<Arch>));
    }
    for (; i + lanes<Arch> <= n; i += lanes<Arch>) even = even + f(load<Arch>(x + i));
    if (i < n) odd = odd + f(load_part<Arch>(x + i, n - i));
    return reduce_add<Arch>(even + odd);
}

/// The largest of x, any n >= 1; NaN anywhere may make it NaN.
template <class Arch>
ATTENTA_ALWAYS_INLINE float largest(const float* x, std::int64_t n) {
    const std::int64_t whole = n / lanes<Arch> * lanes<Arch>;
    float top = whole > 0 ? reduce_max<Arch>(row_tops<Arch>(x, whole)) : x[0];
    for (std::int64_t i = whole; i < n; ++i) top = x[i] > top ? x[i] : top;
    return top;
}

/// y ← y · a
template <class Arch>
ATTENTA_ALWAYS_INLINE void scale_row(float* y, std::int64_t n, float a) {
    const Batch<Arch> f(a);
    std::int64_t i = 0;
    for (; i + lanes<Arch> <= n; i += lanes<Arch>) (load<Arch>(y + i) * f).store_unaligned(y + i);
    for (; i < n; ++i) y[i] *= a;
}

/// y ← y + a · x, fused in the last channels too, whether or not the compiler contracts.
template <class Arch, class T>
ATTENTA_ALWAYS_INLINE void add_row(float* y, const T* x, std::int64_t n, float a) {
    const Batch<Arch> f(a);
    std::int64_t i = 0;
    for (; i + lanes<Arch> <= n; i += lanes<Arch>)
        fma<Arch>(f, load<Arch>(x + i), load<Arch>(y + i)).store_unaligned(y + i);
    if (i < n)
        store_part<Arch>(y + i, fma<Arch>(f, load_part<Arch>(x + i, n - i), load_part<Arch>(y + i, n - i)), n - i);
}

/// y ← a · x; returns whether all of y is finite.
template <class Arch>
ATTENTA_ALWAYS_INLINE bool finish_row(float* y, const float* x, std::int64_t n, float a) {
    const Batch<Arch> f(a);
    Batch<Arch> zero(0.f);
    float tail = 0;
    std::int64_t i = 0;
    for (; i + lanes<Arch> <= n; i += lanes<Arch>) {
        const Batch<Arch> v = load<Arch>(x + i) * f;
        v.store_unaligned(y + i);
        zero = fma<Arch>(v, Batch<Arch>(0.f), zero);
    }
    for (; i < n; ++i) tail += 0.f * (y[i] = a * x[i]);
    return reduce_add<Arch>(zero) + tail == 0.f;
}

/// Query rows for dot_rows: [vector][Rows][lane], times `factor`, zeros behind the last channel and for null rows.
template <class Arch, int Rows>
void interleave_rows(const float* const* rows, std::int64_t dim, float factor, float* q) {
    constexpr std::int64_t L = lanes<Arch>;
    for (std::int64_t c = 0; c < dim; c += L)
        for (int r = 0; r < Rows; ++r, q += L) {
            Batch<Arch> x(0.f);
            if (rows[r]) x = c + L <= dim ? load<Arch>(rows[r] + c) : load_part<Arch>(rows[r] + c, dim - c);
            (x * Batch<Arch>(factor)).store_unaligned(q);
        }
}

/// f(N, c, read) for all vectors of a row from channel c on: N = `Long` of them, then `Short`, then single ones, the last
/// of which may be a part of a vector.
template <class Arch, int Long, int Short, class T, class F>
ATTENTA_ALWAYS_INLINE void for_pieces(std::int64_t dim, F&& f) {
    constexpr int L = static_cast<int>(lanes<Arch>);
    const auto whole = [](const T* x) ATTENTA_FLATTEN { return load<Arch>(x); };
    std::int64_t c = 0;
    for (; c + Long * L <= dim; c += Long * L) f(std::integral_constant<int, Long>{}, c, whole);
    if constexpr (Long > Short)
        for (; c + Short * L <= dim; c += Short * L) f(std::integral_constant<int, Short>{}, c, whole);
    if constexpr (Long > 1 && Short > 1)
        for (; c + L <= dim; c += L) f(std::integral_constant<int, 1>{}, c, whole);
    if (c < dim)
        f(std::integral_constant<int, 1>{}, c,
          [n = dim - c](const T* x) ATTENTA_FLATTEN { return load_part<Arch>(x, n); });
}

/// Dot products of `lanes / Rows` keys with `Rows` queries (interleaved), in one vector: lane u · Rows + r is
/// k[u]·q[r]; the keys lie `offset` bytes behind k[u]. Queries are loaded once for all keys. Asks for later rows on the
/// way, a few lines at a time: a burst of requests would stop the work until memory has answered.
template <class Arch, int Rows, class T>
ATTENTA_ALWAYS_INLINE Batch<Arch> dot_rows(const std::byte* const* k, std::int64_t offset, LaterRows& later,
                                           const float* q, std::int64_t dim) {
    constexpr int L = static_cast<int>(lanes<Arch>), held = L == 16 ? 8 : 4, Long = held > Rows ? held / Rows : 1;
    Batch<Arch> sum[static_cast<std::size_t>(L)];
    unrolled<L>([&](auto i) ATTENTA_FLATTEN { sum[i] = Batch<Arch>(0.f); });
    const T* key[L / Rows];
    unrolled<L / Rows>([&](auto u) ATTENTA_FLATTEN { key[u] = reinterpret_cast<const T*>(k[u] + offset); });
    for_pieces<Arch, Long, 1, T>(
        dim, [&]<int N>(std::integral_constant<int, N>, std::int64_t c, auto&& read) ATTENTA_FLATTEN {
            Batch<Arch> query[N * Rows];
            unrolled<N * Rows>([&](auto i) ATTENTA_FLATTEN { query[i] = load<Arch>(q + c * Rows + i * L); });
            unrolled<L / Rows>([&](auto u) ATTENTA_FLATTEN {
                if constexpr (N == Long) later.template ask<N * L / per_line<T>>();
                unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                    const Batch<Arch> x = read(key[u] + c + n * L);
                    unrolled<Rows>([&](auto r) ATTENTA_FLATTEN {
                        sum[u * Rows + r] = fma<Arch>(x, query[n * Rows + r], sum[u * Rows + r]);
                    });
                });
            });
        });
    return reduce_rows<Arch>(sum);
}

/// The same in longer pieces of fewer rows, as memory likes them: `Long` vectors of `Keys` keys are held and queries are
/// loaded for these. In cache this takes longer, for it loads more.
template <class Arch, int Rows, int Keys, int Long, class T>
ATTENTA_ALWAYS_INLINE Batch<Arch> dot_long_rows(const std::byte* const* k, std::int64_t offset, LaterRows& later,
                                                const float* q, std::int64_t dim) {
    constexpr int L = static_cast<int>(lanes<Arch>);
    Batch<Arch> sum[static_cast<std::size_t>(L)];
    unrolled<L / (Rows * Keys)>([&](auto pair) ATTENTA_FLATTEN {
        constexpr int first = pair * Keys;
        const T* key[Keys];
        unrolled<Keys>([&](auto u) ATTENTA_FLATTEN { key[u] = reinterpret_cast<const T*>(k[first + u] + offset); });
        Batch<Arch>* const s = sum + first * Rows;
        unrolled<Keys * Rows>([&](auto i) ATTENTA_FLATTEN { s[i] = Batch<Arch>(0.f); });
        for_pieces<Arch, Long, 1, T>(
            dim, [&]<int N>(std::integral_constant<int, N>, std::int64_t c, auto&& read) ATTENTA_FLATTEN {
                Batch<Arch> x[Keys][N];
                unrolled<Keys>([&](auto u) ATTENTA_FLATTEN {
                    if constexpr (N == Long) later.template ask<N * L / per_line<T>>();
                    unrolled<N>([&](auto n) ATTENTA_FLATTEN { x[u][n] = read(key[u] + c + n * L); });
                });
                unrolled<N * Rows>([&](auto i) ATTENTA_FLATTEN {
                    constexpr int n = i / Rows, r = i % Rows;
                    const Batch<Arch> query = load<Arch>(q + c * Rows + i * L);
                    unrolled<Keys>(
                        [&](auto u) ATTENTA_FLATTEN { s[u * Rows + r] = fma<Arch>(x[u][n], query, s[u * Rows + r]); });
                });
            });
    });
    return reduce_rows<Arch>(sum);
}

/// Scores of `Keys` keys with `Vectors` vectors of query rows: s[u · s_stride + row] = Σ_c k(u)[c] q[c · q_stride + row].
/// Asks for rows that are needed later on the way.
template <class Arch, int Keys, int Vectors, class Key>
ATTENTA_ALWAYS_INLINE void score_keys(Key&& k, const float* q, std::int64_t q_stride, std::int64_t dim, float* s,
                                      std::int64_t s_stride, LaterRows& later) {
    using B = Batch<Arch>;
    constexpr int steps = 32 / Keys;
    B sum[Keys][Vectors];
    const float* key[Keys];
    unrolled<Keys>([&](auto u) ATTENTA_FLATTEN {
        key[u] = k(u);
        unrolled<Vectors>([&](auto n) ATTENTA_FLATTEN { sum[u][n] = B(0.f); });
    });
    const auto channel = [&](std::int64_t c) ATTENTA_FLATTEN {
        B x[Vectors];
        unrolled<Vectors>([&](auto n) ATTENTA_FLATTEN { x[n] = load<Arch>(q + c * q_stride + n * lanes<Arch>); });
        unrolled<Keys>([&](auto u) ATTENTA_FLATTEN {
            const B y(key[u][c]);
            unrolled<Vectors>([&](auto n) ATTENTA_FLATTEN { sum[u][n] = fma<Arch>(y, x[n], sum[u][n]); });
            hold_loads();
        });
    };
    std::int64_t c = 0;
    for (; c + steps <= dim; c += steps) {
        later.template ask<2>();
        unrolled<steps>([&](auto i) ATTENTA_FLATTEN { channel(c + i); });
    }
    for (; c < dim; ++c) channel(c);
    unrolled<Keys>([&](auto u) ATTENTA_FLATTEN {
        unrolled<Vectors>([&](auto n)
                              ATTENTA_FLATTEN { sum[u][n].store_unaligned(s + u * s_stride + n * lanes<Arch>); });
    });
}

/// o[r][·] += Σ_i p[i · p_stride + r] · v_i[·] for `Rows` rows and `keys` keys, which lie `offset` bytes behind v_i;
/// o is [Rows][o_stride], padded to whole vectors. Asks for the share of later rows that Rows of `All` rows have.
template <class Arch, int Rows, int All, class T>
ATTENTA_ALWAYS_INLINE void add_values(const std::byte* const* v, std::int64_t offset, LaterRows& later,
                                      std::int64_t keys, const float* p, std::int64_t p_stride, std::int64_t dim,
                                      float* o, std::int64_t o_stride) {
    constexpr int L = static_cast<int>(lanes<Arch>),
                  Wide = (TileShape<Arch>::rows * TileShape<Arch>::vectors >= 24 ? 16 : 8) / Rows;
    constexpr int Vectors = Rows > 4 ? TileShape<Arch>::vectors : Wide > 8 ? 8 : Wide;
    for_pieces<Arch, Vectors, 2, T>(
        dim, [&]<int N>(std::integral_constant<int, N>, std::int64_t c, auto&& read) ATTENTA_FLATTEN {
            constexpr int share = All * per_line<T>, asked = (N * L * Rows + share - 1) / share;
            Batch<Arch> sum[Rows][N];
            unrolled<Rows>([&](auto r) ATTENTA_FLATTEN {
                unrolled<N>([&](auto n) ATTENTA_FLATTEN { sum[r][n] = load<Arch>(o + r * o_stride + c + n * L); });
            });
            for (std::int64_t i = 0; i < keys; ++i) {
                const T* row = reinterpret_cast<const T*>(v[i] + offset) + c;
                later.template ask<asked>();
                Batch<Arch> x[N];
                unrolled<N>([&](auto n) ATTENTA_FLATTEN { x[n] = read(row + n * L); });
                unrolled<Rows>([&](auto r) ATTENTA_FLATTEN {
                    const Batch<Arch> weight(p[i * p_stride + r]);
                    unrolled<N>([&](auto n) ATTENTA_FLATTEN { sum[r][n] = fma<Arch>(weight, x[n], sum[r][n]); });
                });
            }
            unrolled<Rows>([&](auto r) ATTENTA_FLATTEN {
                unrolled<N>([&](auto n) ATTENTA_FLATTEN { sum[r][n].store_unaligned(o + r * o_stride + c + n * L); });
            });
        });
}

/// The same for `Keys` values, line after line of whole rows as memory likes them, while sums go through L1; p is
/// [Keys][Rows].
template <class Arch, int Rows, int Keys, class T>
ATTENTA_ALWAYS_INLINE void add_whole_values(const std::byte* const* v, LaterRows& later, const float* p,
                                            std::int64_t dim, float* o, std::int64_t o_stride) {
    constexpr int L = static_cast<int>(lanes<Arch>), line = static_cast<int>(per_line<T>) / L;
    Batch<Arch> weight[Keys][Rows];
    const T* row[Keys];
    unrolled<Keys>([&](auto i) ATTENTA_FLATTEN {
        row[i] = reinterpret_cast<const T*>(v[i]);
        unrolled<Rows>([&](auto r) ATTENTA_FLATTEN { weight[i][r] = Batch<Arch>(p[i * Rows + r]); });
    });
    for_pieces<Arch, line, 1, T>(
        dim, [&]<int N>(std::integral_constant<int, N>, std::int64_t c, auto&& read) ATTENTA_FLATTEN {
            Batch<Arch> x[Keys][N];
            unrolled<Keys>([&](auto i) ATTENTA_FLATTEN {
                if constexpr (N == line) later.ask();
                unrolled<N>([&](auto n) ATTENTA_FLATTEN { x[i][n] = read(row[i] + c + n * L); });
            });
            unrolled<Rows>([&](auto r) ATTENTA_FLATTEN {
                unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                    float* const at = o + r * o_stride + c + n * L;
                    Batch<Arch> sum = load<Arch>(at);
                    unrolled<Keys>([&](auto i) ATTENTA_FLATTEN { sum = fma<Arch>(weight[i][r], x[i][n], sum); });
                    sum.store_unaligned(at);
                });
            });
        });
}

}  // namespace simd

ATTENTA_END
