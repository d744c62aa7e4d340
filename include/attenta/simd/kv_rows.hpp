// Products with unpacked rows of K and V.
#pragma once

#include <attenta/simd/prefetch.hpp>
#include <attenta/simd/vector.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace simd {

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

/// The lines of N channels from c on. Where there are several pieces to a line, floats are left to the processor: on Zen 3
/// prefetches made their decode up to 10 % slower, that of halves and codes 20 % faster. Rows of bytes, with their scales,
/// are two pieces of a line more often than not.
template <int N, class T>
ATTENTA_ALWAYS_INLINE void prefetch_piece(PrefetchQueue& queue, std::int64_t c) {
    constexpr int every = sizeof(T) == 1 ? per_line<T> / 2 : per_line<T>;
    if constexpr (N >= per_line<T>)
        queue.template prefetch<N / per_line<T>>();
    else if (sizeof(T) < sizeof(float) && c % every == 0)
        queue.prefetch();
}

/// Dot products of `lanes / Rows` keys with `Rows` queries (interleaved), in one vector: lane u · Rows + r is
/// k[u]·q[r]; the keys lie `offset` bytes behind k[u]. Queries are loaded once for all keys. Prefetches on the way, a
/// few lines at a time: a burst of prefetches would stop the work until memory has answered.
template <class Arch, int Rows, class T>
ATTENTA_ALWAYS_INLINE Batch<Arch> dot_rows(const std::byte* const* k, std::int64_t offset, PrefetchQueue& queue,
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
                if constexpr (N == Long) prefetch_piece<N * L, T>(queue, c);
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
ATTENTA_ALWAYS_INLINE Batch<Arch> dot_long_rows(const std::byte* const* k, std::int64_t offset, PrefetchQueue& queue,
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
                    if constexpr (N == Long) prefetch_piece<N * L, T>(queue, c);
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
/// Prefetches on the way.
template <class Arch, int Keys, int Vectors, class Key>
ATTENTA_ALWAYS_INLINE void score_keys(Key&& k, const float* q, std::int64_t q_stride, std::int64_t dim, float* s,
                                      std::int64_t s_stride, PrefetchQueue& queue) {
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
        queue.template prefetch<2>();
        unrolled<steps>([&](auto i) ATTENTA_FLATTEN { channel(c + i); });
    }
    for (; c < dim; ++c) channel(c);
    unrolled<Keys>([&](auto u) ATTENTA_FLATTEN {
        unrolled<Vectors>([&](auto n)
                              ATTENTA_FLATTEN { sum[u][n].store_unaligned(s + u * s_stride + n * lanes<Arch>); });
    });
}

/// o[r][·] += Σ_i p[i · p_stride + r] · v_i[·] for `Rows` rows and `keys` keys, which lie `offset` bytes behind v_i;
/// o is [Rows][o_stride], padded to whole vectors. Prefetches the share of lines that Rows of `All` rows have.
template <class Arch, int Rows, int All, class T>
ATTENTA_ALWAYS_INLINE void add_values(const std::byte* const* v, std::int64_t offset, PrefetchQueue& queue,
                                      std::int64_t keys, const float* p, std::int64_t p_stride, std::int64_t dim,
                                      float* o, std::int64_t o_stride) {
    constexpr int L = static_cast<int>(lanes<Arch>),
                  Wide = (TileShape<Arch>::rows * TileShape<Arch>::vectors >= 24 ? 16 : 8) / Rows;
    constexpr int Vectors = Rows > 4 ? TileShape<Arch>::vectors : Wide > 8 ? 8 : Wide;
    for_pieces<Arch, Vectors, 2, T>(
        dim, [&]<int N>(std::integral_constant<int, N>, std::int64_t c, auto&& read) ATTENTA_FLATTEN {
            constexpr int share = All * per_line<T>, lines = (N * L * Rows + share - 1) / share;
            Batch<Arch> sum[Rows][N];
            unrolled<Rows>([&](auto r) ATTENTA_FLATTEN {
                unrolled<N>([&](auto n) ATTENTA_FLATTEN { sum[r][n] = load<Arch>(o + r * o_stride + c + n * L); });
            });
            for (std::int64_t i = 0; i < keys; ++i) {
                const T* row = reinterpret_cast<const T*>(v[i] + offset) + c;
                queue.template prefetch<lines>();
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
ATTENTA_ALWAYS_INLINE void add_whole_values(const std::byte* const* v, PrefetchQueue& queue, const float* p,
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
                if constexpr (N == line) queue.prefetch();
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
