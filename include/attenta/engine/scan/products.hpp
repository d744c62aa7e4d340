// Products of a chunk's rows: micro-panels and what register tiles make of them, and products with one decay for all
// channels. Where decays differ by channel: channels.hpp. See loop.hpp.
#pragma once

#include <attenta/engine/scan/chunk.hpp>
#include <attenta/simd/pack.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

ATTENTA_BEGIN

namespace scan {

/// Rows behind the last repeat it.
template <class Arch>
void pack_a_panels(const Chunk<Arch>& c, Rows rows, std::int64_t count, float* panels) {
    constexpr std::int64_t L = Chunk<Arch>::L;
    for (std::int64_t i = 0; i < count; i += L) {
        const float* of[static_cast<std::size_t>(L)];
        for (std::int64_t u = 0; u < L; ++u) of[u] = rows[std::min(i + u, count - 1)];
        simd::pack_queries<Arch, Chunk<Arch>::lanes>(of, c.dim, 1.f, panels + i * c.dim);
    }
}

/// Where row i of a-panels begins; its channels lie L apart.
template <class Arch>
const float* a_panel_row(const Chunk<Arch>& c, const float* panels, std::int64_t i) {
    return panels + i / c.L * c.L * c.dim + i % c.L;
}

/// Channels that products of rows take, all but where polynomials take fewer.
struct Channels {
    std::int64_t first, count;
};
template <class Arch>
Channels channels_of_products(const Chunk<Arch>& c) {
    const std::int64_t few = c.r.polynomial.channels;
    return few > 0 ? Channels{1, few} : Channels{0, c.dim};
}

/// `count` keys of one or two sets in common b-panels: `group` of the first set, as many of the second, and so on.
template <class Arch>
void pack_b_panels(const Chunk<Arch>& c, Rows first, Rows second, std::size_t sets, std::int64_t count,
                   std::int64_t group) {
    const auto [channel, channels] = channels_of_products(c);
    const std::byte** row = c.scratch.rows_to_pack;
    for (std::int64_t s = 0; s < count; s += group)
        for (std::size_t set = 0; set < sets; ++set)
            for (std::int64_t u = 0; u < group; ++u)
                *row++ = reinterpret_cast<const std::byte*>((set == 0 ? first : second)[s + u] + channel);
    simd::pack_keys<Arch, Chunk<Arch>::vectors, float>(c.scratch.rows_to_pack, 0, row - c.scratch.rows_to_pack,
                                                       channels, c.scratch.key_b_panels);
}
template <class Arch>
void pack_keys(const Chunk<Arch>& c) {
    pack_b_panels(c, c.k, {}, 1, c.n, c.n);
}

/// P[row][key] of the R rows at `a` with the packed keys below `keys`.
template <class Arch>
void panel_products(const Chunk<Arch>& c, const float* a, std::int64_t keys, float* p, std::int64_t p_stride) {
    constexpr std::int64_t L = Chunk<Arch>::L, W = Chunk<Arch>::W;
    const Channels taken = channels_of_products(c);
    for (std::int64_t key = 0; key < keys; key += W) {
        const auto multiply = [&]<int N>(std::integral_constant<int, N>) ATTENTA_FLATTEN {
            simd::RegisterTile<Arch, Chunk<Arch>::R, N> tile;
            tile.zero();
            tile.template add<1>(a + taken.first * L, L, c.scratch.key_b_panels + key * taken.count, W, taken.count);
            tile.store(p + key, p_stride);
        };
        if (keys - key > L)
            multiply(std::integral_constant<int, Chunk<Arch>::vectors>{});
        else
            multiply(std::integral_constant<int, 1>{});
    }
}

/// P of packed rows and keys as far as the diagonal, without decays.
template <class Arch>
void undecayed_products(const Chunk<Arch>& c, const float* a_panels, float* p) {
    constexpr std::int64_t R = Chunk<Arch>::R;
    for (std::int64_t i = 0; i < c.n; i += R)
        panel_products(c, a_panel_row(c, a_panels, i), std::min(i + R, c.n), p + i * chunk, chunk);
}

/// Products of features from those of the channels that polynomials take.
template <class Arch>
void complete_polynomials(const Chunk<Arch>& c, float* p) {
    using Batch = simd::Batch<Arch>;
    const Polynomial& polynomial = c.r.polynomial;
    const Batch one(polynomial.one), square(polynomial.square);
    for (std::int64_t t = 0; t < c.n; ++t)
        for (std::int64_t s = 0; s <= t; s += c.L) {
            float* const at = p + t * chunk + s;
            const Batch x = simd::load<Arch>(at);
            simd::fma<Arch>(simd::fma<Arch>(square, x, Batch(1.f)), x, one).store_unaligned(at);
        }
}

/// P = products ⊙ decays, zero above the diagonal, with `strict` on it too. With `before`, decays end in front of the row's
/// own token.
template <class Arch>
void decay_products(const Chunk<Arch>& c, const float* products, bool strict, float* p, bool before = false) {
    constexpr std::int64_t L = Chunk<Arch>::L, R = Chunk<Arch>::R;
    using Batch = simd::Batch<Arch>;
    for (std::int64_t t = 0; t < c.n; ++t) {
        const std::int64_t seen = t + (strict ? 0 : 1);
        const float* const decays = c.scratch.between + (before && t > 0 ? t - 1 : t) * chunk;
        for (std::int64_t s = 0; s < round_up(t / R * R + R, L); s += L) {
            const Batch x = simd::load<Arch>(products + t * chunk + s) * simd::load<Arch>(decays + s);
            const std::int64_t left = seen - s;
            const auto bits = left >= L ? ~0u : left <= 0 ? 0u : (1u << left) - 1u;
            simd::select<Arch>(bits, x, Batch(0.f)).store_unaligned(p + t * chunk + s);
        }
    }
}

/// a·b in lanes, in several chains; channels behind the last whole vector in `rest`.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> partial_dot(const Chunk<Arch>& c, const float* a, const float* b, float& rest) {
    constexpr std::int64_t L = Chunk<Arch>::L;
    constexpr int chains = 4;
    using Batch = simd::Batch<Arch>;
    Batch sum[chains] = {Batch(0.f), Batch(0.f), Batch(0.f), Batch(0.f)};
    std::int64_t d = 0;
    for (; d + chains * L <= c.dim; d += chains * L)
        simd::unrolled<chains>([&](auto i) ATTENTA_FLATTEN {
            sum[i] = simd::fma<Arch>(simd::load<Arch>(a + d + i * L), simd::load<Arch>(b + d + i * L), sum[i]);
        });
    for (; d + L <= c.dim; d += L) sum[0] = simd::fma<Arch>(simd::load<Arch>(a + d), simd::load<Arch>(b + d), sum[0]);
    for (; d < c.dim; ++d) rest += a[d] * b[d];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

template <class Arch>
float dot(const Chunk<Arch>& c, const float* a, const float* b) {
    float rest = 0;
    const simd::Batch<Arch> sum = partial_dot(c, a, b, rest);
    return simd::reduce_add<Arch>(sum) + rest;
}

/// The weight of a token that a query reads before the state takes it up: Σ_d q_d u_d k_d.
template <class Arch>
float bonus_weight(const Chunk<Arch>& c, const float* q, const float* u, const float* k) {
    constexpr std::int64_t L = Chunk<Arch>::L;
    simd::Batch<Arch> sum(0.f);
    std::int64_t d = 0;
    for (; d + L <= c.dim; d += L)
        sum = simd::fma<Arch>(simd::load<Arch>(q + d) * simd::load<Arch>(u + d), simd::load<Arch>(k + d), sum);
    float rest = simd::reduce_add<Arch>(sum);
    for (; d < c.dim; ++d) rest += q[d] * u[d] * k[d];
    return rest;
}

}  // namespace scan

ATTENTA_END
