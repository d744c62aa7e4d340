// Products of a chunk's rows where decays differ by channel: P_ts = Σ_d x_td y_sd exp(sum of g over s+1 .. t). Blocks
// of tokens meet earlier ones as matrices, queries decayed from the block's start, keys to it; halves of a block
// likewise; what is left goes pair by pair. See loop.hpp.
#pragma once

#include <attenta/engine/scan/products.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

ATTENTA_BEGIN

namespace scan {

/// Rows whose products with keys are wanted.
struct QuerySet {
    Rows rows;
    bool before;              ///< the sum of g ends at t - 1, and s < t
    float* a_panels;          ///< receive the rows decayed from the chunk's start, for products with the state
    float* products[2] = {};  ///< receive the products with each key set
};
struct KeySet {
    Rows rows;
    float* decayed;  ///< receives the rows decayed to the block that is being worked on, at last to the chunk's end
};

/// Both key sets; additive and delta updates have the first alone.
template <class Arch>
std::array<KeySet, 2> key_sets(const Chunk<Arch>& c) {
    return {KeySet{c.k, c.scratch.decayed_k}, KeySet{c.b, c.scratch.decayed_b}};
}
template <class Arch>
std::size_t number_of_key_sets(const Chunk<Arch>& c) {
    return c.low_rank() ? 2 : 1;
}

inline constexpr std::int64_t half = block / 2;

/// f<N>(d) for vectors d .. d + N - 1 of all channels: several at a time keep to the order of memory.
template <int Wide, class Arch, class F>
ATTENTA_ALWAYS_INLINE void for_vectors(const Chunk<Arch>& c, F&& f) {
    std::int64_t d = 0;
    for (; d + Wide * c.L <= c.stride; d += Wide * c.L) f(std::integral_constant<int, Wide>{}, d);
    for (; d < c.stride; d += c.L) f(std::integral_constant<int, 1>{}, d);
}
template <class Arch>
inline constexpr int decay_vectors = simd::TileShape<Arch>::rows >= 8 ? 8 : 4;  ///< that registers hold

template <class Arch>
void multiply(const Chunk<Arch>& c, float* row, const float* by) {
    for (std::int64_t d = 0; d < c.stride; d += c.L)
        (simd::load<Arch>(row + d) * simd::load<Arch>(by + d)).store_unaligned(row + d);
}

/// Rows first .. first + count - 1 times the decay from `first` on; block_decay becomes that of all of them.
template <class Arch>
void decay_from_first(const Chunk<Arch>& c, Rows rows, std::int64_t first, std::int64_t count, bool before, float* to) {
    constexpr std::int64_t L = Chunk<Arch>::L;
    using Batch = simd::Batch<Arch>;
    for_vectors<decay_vectors<Arch>>(c, [&]<int N>(std::integral_constant<int, N>, std::int64_t d) ATTENTA_FLATTEN {
        Batch w[N];
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { w[n] = Batch(1.f); });
        for (std::int64_t t = 0; t < count; ++t) {
            const float *const row = rows[first + t] + d, *const e = c.scratch.decay + (first + t) * c.stride + d;
            float* const out = to + t * c.stride + d;
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                const Batch now = w[n] * simd::load<Arch>(e + n * L);
                (simd::load<Arch>(row + n * L) * (before ? w[n] : now)).store_unaligned(out + n * L);
                w[n] = now;
            });
        }
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { w[n].store_unaligned(c.scratch.block_decay + d + n * L); });
    });
}

/// Rows first .. first + count - 1 times the decay from behind them to the last one.
template <class Arch>
void decay_to_last(const Chunk<Arch>& c, Rows rows, std::int64_t first, std::int64_t count, float* to) {
    constexpr std::int64_t L = Chunk<Arch>::L;
    using Batch = simd::Batch<Arch>;
    for_vectors<decay_vectors<Arch>>(c, [&]<int N>(std::integral_constant<int, N>, std::int64_t d) ATTENTA_FLATTEN {
        Batch w[N];
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { w[n] = Batch(1.f); });
        for (std::int64_t s = count - 1; s >= 0; --s) {
            const float *const row = rows[first + s] + d, *const e = c.scratch.decay + (first + s) * c.stride + d;
            float* const out = to + s * c.stride + d;
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                (simd::load<Arch>(row + n * L) * w[n]).store_unaligned(out + n * L);
                w[n] = w[n] * simd::load<Arch>(e + n * L);
            });
        }
    });
}

/// Packed rows, each channel times its decay.
template <class Arch>
void decay_a_panels(const Chunk<Arch>& c, const float* panels, const float* decay, std::int64_t count, float* to) {
    for (std::int64_t i = 0; i < count; i += c.L)
        for (std::int64_t d = 0; d < c.dim; ++d)
            (simd::load<Arch>(panels + i * c.dim + d * c.L) * simd::Batch<Arch>(decay[d]))
                .store_unaligned(to + i * c.dim + d * c.L);
}

/// Rows before `first` that are decayed to it, and `count` from there on, are decayed to behind these.
template <class Arch>
void decay_keys(const Chunk<Arch>& c, const KeySet& keys, std::int64_t first, std::int64_t count) {
    for (std::int64_t s = 0; s < first; ++s) multiply(c, keys.decayed + s * c.stride, c.scratch.block_decay);
    decay_to_last(c, keys.rows, first, count, keys.decayed + first * c.stride);
}

/// Keys decayed to the chunk's end, as channel_products leaves them.
template <class Arch>
void decay_keys_alone(const Chunk<Arch>& c, const KeySet& keys) {
    for (std::int64_t r = 0; r < c.n; r += block) {
        const std::int64_t count = std::min(block, c.n - r);
        std::fill_n(c.scratch.block_decay, c.stride, 1.f);
        for (std::int64_t t = r; t < r + count; ++t) multiply(c, c.scratch.block_decay, c.scratch.decay + t * c.stride);
        decay_keys(c, keys, r, count);
    }
}

/// Row i of block_a_panels and the R - 1 behind it with `count` packed keys of each of `sets`, `group` of each in turn.
/// The first `rows` are P's rows from t on, of keys from s on.
template <class Arch>
void matrix_products(const Chunk<Arch>& c, std::int64_t i, std::int64_t rows, std::int64_t count, std::int64_t group,
                     std::size_t sets, const QuerySet& q, std::int64_t t, std::int64_t s) {
    const float* const a = a_panel_row(c, c.scratch.block_a_panels, i);
    if (sets == 1 && group % c.L == 0) return panel_products(c, a, count, q.products[0] + t * chunk + s, chunk);
    constexpr std::int64_t R = Chunk<Arch>::R;
    float p[static_cast<std::size_t>(R * 2 * chunk)];
    panel_products(c, a, count * static_cast<std::int64_t>(sets), p, 2 * chunk);
    for (std::int64_t u = 0; u < rows; ++u) {
        const float* from = p + u * 2 * chunk;
        for (std::int64_t g = 0; g < count; g += group)
            for (std::size_t set = 0; set < sets; ++set, from += group)
                std::copy_n(from, group, q.products[set] + (t + u) * chunk + s + g);
    }
}

/// The second half of the block at r, of `count` rows, with the first.
template <class Arch>
void half_products(const Chunk<Arch>& c, std::span<const QuerySet> queries, std::span<const KeySet> keys,
                   std::int64_t r, std::int64_t count) {
    const Scratch& x = c.scratch;
    float *const first = x.block_rows, *const second = first + half * c.stride;
    decay_to_last(c, keys.front().rows, r, half, first);
    if (keys.size() > 1) decay_to_last(c, keys.back().rows, r, half, second);
    pack_b_panels(c, {first, c.stride}, {second, c.stride}, keys.size(), half, half);
    std::int64_t i = 0;
    for (const QuerySet& q : queries) {
        decay_from_first(c, q.rows, r + half, count, q.before, x.block_rows + i * c.stride);
        i += half;
    }
    pack_a_panels(c, {x.block_rows, c.stride}, i - half + count, x.block_a_panels);
    i = 0;
    for (const QuerySet& q : queries) {
        for (std::int64_t t = 0; t < count; t += c.R)
            matrix_products(c, i + t, std::min<std::int64_t>(c.R, count - t), half, half, keys.size(), q, r + half + t,
                            r);
        i += half;
    }
}

/// Where the lanes of a pair's product are summed up.
template <class Arch>
float* pair_sum(const Chunk<Arch>& c, int product, std::int64_t s, std::int64_t t) {
    return c.scratch.pair_sums + ((product * half + s) * half + t) * c.L;
}

/// Pairs are summed in whole vectors: those above the diagonal stay 0.
template <class Arch>
void clear_pairs(const Chunk<Arch>& c) {
    const int products = c.low_rank() ? 4 : c.corrects() ? 2 : 1;
    std::fill_n(c.scratch.pair_sums, products * half * half * c.L, 0.f);
}

/// Adds vectors d .. d + N - 1 of the products of key s with rows s .. count - 1 to their sums, which start at d = 0.
template <int N, int Queries, int Sets, class Arch>
void pair_column(const Chunk<Arch>& c, const QuerySet* queries, const KeySet* keys, std::int64_t d, std::int64_t first,
                 std::int64_t s, std::int64_t count) {
    constexpr std::int64_t L = Chunk<Arch>::L;
    using Batch = simd::Batch<Arch>;
    Batch w[Sets][N];
    simd::unrolled<Sets>([&](auto y) ATTENTA_FLATTEN {
        const float* const from = keys[y].rows[first + s] + d;
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { w[y][n] = simd::load<Arch>(from + n * L); });
    });
    const auto add = [&](std::int64_t t, auto query) ATTENTA_FLATTEN {
        const float* const x = queries[query].rows[first + t] + d;
        Batch sum[Sets];
        simd::unrolled<Sets>([&](auto y) ATTENTA_FLATTEN {
            sum[y] = d == 0 ? Batch(0.f) : simd::load<Arch>(pair_sum(c, query * Sets + y, s, t));
        });
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
            const Batch v = simd::load<Arch>(x + n * L);
            simd::unrolled<Sets>([&](auto y) ATTENTA_FLATTEN { sum[y] = simd::fma<Arch>(v, w[y][n], sum[y]); });
        });
        simd::unrolled<Sets>([&](auto y)
                                 ATTENTA_FLATTEN { sum[y].store_unaligned(pair_sum(c, query * Sets + y, s, t)); });
    };
    for (std::int64_t t = s; t < count; ++t) {
        if (t > s) {
            simd::unrolled<Queries>([&](auto q) ATTENTA_FLATTEN {
                if (queries[q].before) add(t, q);
            });
            const float* const e = c.scratch.decay + (first + t) * c.stride + d;
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                const Batch decay = simd::load<Arch>(e + n * L);
                simd::unrolled<Sets>([&](auto y) ATTENTA_FLATTEN { w[y][n] = w[y][n] * decay; });
            });
        }
        simd::unrolled<Queries>([&](auto q) ATTENTA_FLATTEN {
            if (!queries[q].before) add(t, q);
        });
    }
}

/// Products from their lanes' sums.
template <class Arch>
void reduce_pairs(const Chunk<Arch>& c, int product, std::int64_t count, float* p) {
    constexpr std::int64_t L = Chunk<Arch>::L;
    float sum[static_cast<std::size_t>(half * half)];
    for (std::int64_t j = 0; j < half * half; j += L) {
        simd::Batch<Arch> rows[static_cast<std::size_t>(L)];
        const float* const from = pair_sum(c, product, 0, j);
        simd::unrolled<Chunk<Arch>::lanes>([&](auto u) ATTENTA_FLATTEN { rows[u] = simd::load<Arch>(from + u * L); });
        simd::reduce_rows<Arch>(rows).store_unaligned(sum + j);
    }
    for (std::int64_t s = 0; s < count; ++s)
        for (std::int64_t t = s; t < count; ++t) p[t * chunk + s] = sum[s * half + t];
}

/// `count` rows from `first` on, pair by pair, the key decaying on its way down.
template <int Queries, int Sets, class Arch>
void pair_products(const Chunk<Arch>& c, const QuerySet* queries, const KeySet* keys, std::int64_t first,
                   std::int64_t count) {
    constexpr int wide = Queries * Sets > 1 ? 4 : 8;
    for (std::int64_t s = 0; s < count; ++s)
        for_vectors<wide>(c, [&]<int N>(std::integral_constant<int, N>, std::int64_t d) {
            pair_column<N, Queries, Sets>(c, queries, keys, d, first, s, count);
        });
    for (int i = 0; i < Queries * Sets; ++i)
        reduce_pairs(c, i, count, queries[i / Sets].products[i % Sets] + first * chunk + first);
}

template <class Arch>
void pair_products(const Chunk<Arch>& c, std::span<const QuerySet> queries, std::span<const KeySet> keys,
                   std::int64_t first, std::int64_t count) {
    const QuerySet* const q = queries.data();
    const KeySet* const k = keys.data();
    if (keys.size() == 1)
        queries.size() == 1 ? pair_products<1, 1>(c, q, k, first, count) : pair_products<2, 1>(c, q, k, first, count);
    else
        queries.size() == 1 ? pair_products<1, 2>(c, q, k, first, count) : pair_products<2, 2>(c, q, k, first, count);
}

/// The block's own products.
template <class Arch>
void block_products(const Chunk<Arch>& c, std::span<const QuerySet> queries, std::span<const KeySet> keys,
                    std::int64_t r, std::int64_t count) {
    for (const QuerySet& q : queries)
        for (std::size_t set = 0; set < keys.size(); ++set)
            for (std::int64_t t = r; t < r + count; ++t) std::fill_n(q.products[set] + t * chunk + r, block, 0.f);
    pair_products(c, queries, keys, r, std::min(half, count));
    if (count <= half) return;
    half_products(c, queries, keys, r, count - half);
    pair_products(c, queries, keys, r + half, count - half);
}

/// Products of one or two sets of each kind, which share the decays.
template <class Arch>
void channel_products(const Chunk<Arch>& c, std::span<const QuerySet> queries, std::span<const KeySet> keys) {
    const Scratch& x = c.scratch;
    std::fill_n(x.to_block, c.stride, 1.f);
    for (std::int64_t r = 0; r < c.n; r += block) {
        const std::int64_t count = std::min(block, c.n - r);
        if (r > 0)
            pack_b_panels(c, {keys.front().decayed, c.stride}, {keys.back().decayed, c.stride}, keys.size(), r, block);
        for (const QuerySet& q : queries) {
            decay_from_first(c, q.rows, r, count, q.before, x.block_rows);
            pack_a_panels(c, {x.block_rows, c.stride}, count, r == 0 ? q.a_panels : x.block_a_panels);
            if (r == 0) continue;
            for (std::int64_t i = 0; i < count; i += c.R)
                matrix_products(c, i, c.R, r, block, keys.size(), q, r + i, 0);
            decay_a_panels(c, x.block_a_panels, x.to_block, count, q.a_panels + r * c.dim);
        }
        multiply(c, x.to_block, x.block_decay);
        for (const KeySet& set : keys) decay_keys(c, set, r, count);
        block_products(c, queries, keys, r, count);
    }
}

}  // namespace scan

ATTENTA_END
