// Products of a chunk's rows where decays differ by channel. See loop.hpp.
#pragma once

#include <attenta/engine/scan/chunk.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>

ATTENTA_BEGIN

namespace scan {

/// P_ts = Σ_d x_td y_sd exp(sum of g over s+1 .. t). Blocks of tokens meet earlier ones as matrices, queries decayed from
/// the block's start, keys to it; halves of a block likewise; what is left goes pair by pair.
template <class Base>
class ChannelProducts : public Base {
protected:
    using Base::Base;
    using Base::L, Base::R, Base::half, Base::pack_strips, Base::strip_row, Base::pack_panels, Base::strip_products,
        Base::r_, Base::dim_, Base::d_stride_, Base::x_, Base::n_;
    using typename Base::Arch, typename Base::Batch, typename Base::Rows;

    struct Query {
        Rows rows;
        bool before;       ///< the sum ends at t - 1, and s < t
        float* strips;     ///< rows decayed from the chunk's start, packed for products with the state
        float* p[2] = {};  ///< products with each side
    };
    struct KeySet {
        Rows rows;
        float* decayed;  ///< rows decayed to the block that is being worked on, at last to the chunk's end
    };

    /// Pairs are summed in whole vectors: those above the diagonal stay 0.
    void clear_pairs() const {
        const int products = r_.update == Update::additive ? 1 : r_.update == Update::delta ? 2 : 4;
        std::fill_n(x_.pairs, products * half * half * L, 0.f);
    }

    template <int Queries, int Sides>
    void channel_products(const Query (&queries)[Queries], const KeySet (&sides)[Sides]) {
        std::fill_n(x_.since_start, d_stride_, 1.f);
        for (std::int64_t r = 0; r < n_; r += block) {
            const std::int64_t count = std::min(block, n_ - r);
            if (r > 0) {
                Rows decayed[Sides];
                for (int side = 0; side < Sides; ++side) decayed[side] = {sides[side].decayed, d_stride_};
                pack_panels(decayed, r, block);
            }
            for (const Query& q : queries) {
                prefix(q.rows, r, count, q.before, x_.block_rows);
                pack_strips({x_.block_rows, d_stride_}, count, r == 0 ? q.strips : x_.block_strips);
                if (r == 0) continue;
                for (std::int64_t i = 0; i < count; i += R) side_products<Sides>(i, R, r, block, q, r + i, 0);
                decay_strips(x_.block_strips, x_.since_start, count, q.strips + r * dim_);
            }
            multiply(x_.since_start, x_.block_decay);
            for (const KeySet& y : sides) decay_side(y, r, count);
            for (const Query& q : queries)
                for (int side = 0; side < Sides; ++side)
                    for (std::int64_t t = r; t < r + count; ++t) std::fill_n(q.p[side] + t * chunk + r, block, 0.f);
            pair_products(queries, sides, r, std::min(half, count));
            if (count > half) {
                half_products(queries, sides, r, count - half);
                pair_products(queries, sides, r + half, count - half);
            }
        }
    }

    /// Decays a side to the chunk's end, as channel_products does.
    void decay_alone(const KeySet& y) {
        for (std::int64_t r = 0; r < n_; r += block) {
            const std::int64_t count = std::min(block, n_ - r);
            std::fill_n(x_.block_decay, d_stride_, 1.f);
            for (std::int64_t t = r; t < r + count; ++t) multiply(x_.block_decay, x_.e + t * d_stride_);
            decay_side(y, r, count);
        }
    }

    /// Rows before r that are decayed to r, and those from r on, are decayed to r + count.
    void decay_side(const KeySet& y, std::int64_t r, std::int64_t count) const {
        for (std::int64_t s = 0; s < r; ++s) multiply(y.decayed + s * d_stride_, x_.block_decay);
        suffix(y.rows, r, count, y.decayed + r * d_stride_);
    }

    /// Packed strips, each channel times its decay.
    void decay_strips(const float* strips, const float* decay, std::int64_t count, float* to) const {
        for (std::int64_t i = 0; i < count; i += L)
            for (std::int64_t d = 0; d < dim_; ++d)
                (simd::load<Arch>(strips + i * dim_ + d * L) * Batch(decay[d])).store_unaligned(to + i * dim_ + d * L);
    }

    void multiply(float* row, const float* by) const {
        for (std::int64_t d = 0; d < d_stride_; d += L)
            (simd::load<Arch>(row + d) * simd::load<Arch>(by + d)).store_unaligned(row + d);
    }

    /// f<N>(d) for vectors d .. d + N - 1 of all channels: several at a time keep to the order of memory.
    template <int Wide, class F>
    ATTENTA_ALWAYS_INLINE void for_vectors(F&& f) const {
        std::int64_t d = 0;
        for (; d + Wide * L <= d_stride_; d += Wide * L) f(std::integral_constant<int, Wide>{}, d);
        for (; d < d_stride_; d += L) f(std::integral_constant<int, 1>{}, d);
    }
    static constexpr int held = simd::TileShape<Arch>::rows >= 8 ? 8 : 4;  ///< vectors of decays in registers

    /// Rows first .. first + count - 1 times the decay from `first` on; block_decay is that of all of them.
    void prefix(Rows x, std::int64_t first, std::int64_t count, bool before, float* to) {
        for_vectors<held>([&]<int N>(std::integral_constant<int, N>, std::int64_t d) ATTENTA_FLATTEN {
            Batch w[N];
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { w[n] = Batch(1.f); });
            for (std::int64_t t = 0; t < count; ++t) {
                const float *const row = x[first + t] + d, *const e = x_.e + (first + t) * d_stride_ + d;
                float* const out = to + t * d_stride_ + d;
                simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                    const Batch now = w[n] * simd::load<Arch>(e + n * L);
                    (simd::load<Arch>(row + n * L) * (before ? w[n] : now)).store_unaligned(out + n * L);
                    w[n] = now;
                });
            }
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { w[n].store_unaligned(x_.block_decay + d + n * L); });
        });
    }

    /// Rows first .. first + count - 1 times the decay from behind them to the last one.
    void suffix(Rows y, std::int64_t first, std::int64_t count, float* to) const {
        for_vectors<held>([&]<int N>(std::integral_constant<int, N>, std::int64_t d) ATTENTA_FLATTEN {
            Batch w[N];
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { w[n] = Batch(1.f); });
            for (std::int64_t s = count - 1; s >= 0; --s) {
                const float *const row = y[first + s] + d, *const e = x_.e + (first + s) * d_stride_ + d;
                float* const out = to + s * d_stride_ + d;
                simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                    (simd::load<Arch>(row + n * L) * w[n]).store_unaligned(out + n * L);
                    w[n] = w[n] * simd::load<Arch>(e + n * L);
                });
            }
        });
    }

    /// Row i of block_strips and the R - 1 behind it with `keys` packed keys of each side. The first `rows` are P's rows
    /// from t on, of keys from s on.
    template <int Sides>
    void side_products(std::int64_t i, std::int64_t rows, std::int64_t keys, std::int64_t group, const Query& q,
                       std::int64_t t, std::int64_t s) const {
        const float* const strip = strip_row(x_.block_strips, i);
        if (Sides == 1 && group % L == 0) return strip_products(strip, keys, q.p[0] + t * chunk + s, chunk);
        float p[static_cast<std::size_t>(R * 2 * chunk)];
        strip_products(strip, keys * Sides, p, 2 * chunk);
        for (std::int64_t u = 0; u < rows; ++u) {
            const float* from = p + u * 2 * chunk;
            for (std::int64_t g = 0; g < keys; g += group)
                for (int side = 0; side < Sides; ++side, from += group)
                    std::copy_n(from, group, q.p[side] + (t + u) * chunk + s + g);
        }
    }

    /// The second half of the block at r, of `count` rows, with the first.
    template <int Queries, int Sides>
    void half_products(const Query (&queries)[Queries], const KeySet (&sides)[Sides], std::int64_t r,
                       std::int64_t count) {
        Rows decayed[Sides];
        for (int side = 0; side < Sides; ++side) {
            decayed[side] = {x_.block_rows + side * half * d_stride_, d_stride_};
            suffix(sides[side].rows, r, half, x_.block_rows + side * half * d_stride_);
        }
        pack_panels(decayed, half, half);
        for (int i = 0; i < Queries; ++i)
            prefix(queries[i].rows, r + half, count, queries[i].before, x_.block_rows + i * half * d_stride_);
        pack_strips({x_.block_rows, d_stride_}, (Queries - 1) * half + count, x_.block_strips);
        for (int i = 0; i < Queries; ++i)
            for (std::int64_t t = 0; t < count; t += R)
                side_products<Sides>(i * half + t, std::min<std::int64_t>(R, count - t), half, half, queries[i],
                                     r + half + t, r);
    }

    /// `count` rows from `first` on, pair by pair, the key decaying on its way down.
    template <int Queries, int Sides>
    void pair_products(const Query (&queries)[Queries], const KeySet (&sides)[Sides], std::int64_t first,
                       std::int64_t count) {
        constexpr int wide = Queries * Sides > 1 ? 4 : 8;
        constexpr std::int64_t pairs = half * half;
        for (std::int64_t s = 0; s < count; ++s)
            for_vectors<wide>([&]<int N>(std::integral_constant<int, N>, std::int64_t d) {
                pair_column<N>(queries, sides, d, first, s, count);
            });
        for (int i = 0; i < Queries * Sides; ++i) {
            float sum[static_cast<std::size_t>(pairs)];
            for (std::int64_t j = 0; j < pairs; j += L) {
                Batch rows[static_cast<std::size_t>(L)];
                simd::unrolled<static_cast<int>(L)>(
                    [&](auto u) ATTENTA_FLATTEN { rows[u] = simd::load<Arch>(x_.pairs + (i * pairs + j + u) * L); });
                simd::reduce_rows<Arch>(rows).store_unaligned(sum + j);
            }
            float* const p = queries[i / Sides].p[i % Sides] + first * chunk + first;
            for (std::int64_t s = 0; s < count; ++s)
                for (std::int64_t t = s; t < count; ++t) p[t * chunk + s] = sum[s * half + t];
        }
    }

    /// pairs[query, side][s][t] += vectors d .. d + N - 1 of the products of key s with rows s .. count - 1, which start
    /// at d = 0.
    template <int N, int Queries, int Sides>
    void pair_column(const Query (&queries)[Queries], const KeySet (&sides)[Sides], std::int64_t d, std::int64_t first,
                     std::int64_t s, std::int64_t count) {
        Batch w[Sides][N];
        simd::unrolled<Sides>([&](auto y) ATTENTA_FLATTEN {
            const float* const from = sides[y].rows[first + s] + d;
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { w[y][n] = simd::load<Arch>(from + n * L); });
        });
        const auto add = [&](std::int64_t t, auto query) ATTENTA_FLATTEN {
            const float* const x = queries[query].rows[first + t] + d;
            Batch sum[Sides];
            simd::unrolled<Sides>([&](auto y) ATTENTA_FLATTEN {
                sum[y] = d == 0 ? Batch(0.f) : simd::load<Arch>(pair(query * Sides + y, s, t));
            });
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                const Batch v = simd::load<Arch>(x + n * L);
                simd::unrolled<Sides>([&](auto y) ATTENTA_FLATTEN { sum[y] = simd::fma<Arch>(v, w[y][n], sum[y]); });
            });
            simd::unrolled<Sides>([&](auto y)
                                      ATTENTA_FLATTEN { sum[y].store_unaligned(pair(query * Sides + y, s, t)); });
        };
        for (std::int64_t t = s; t < count; ++t) {
            if (t > s) {
                simd::unrolled<Queries>([&](auto q) ATTENTA_FLATTEN {
                    if (queries[q].before) add(t, q);
                });
                const float* const e = x_.e + (first + t) * d_stride_ + d;
                simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                    const Batch decay = simd::load<Arch>(e + n * L);
                    simd::unrolled<Sides>([&](auto y) ATTENTA_FLATTEN { w[y][n] = w[y][n] * decay; });
                });
            }
            simd::unrolled<Queries>([&](auto q) ATTENTA_FLATTEN {
                if (!queries[q].before) add(t, q);
            });
        }
    }

    float* pair(int product, std::int64_t s, std::int64_t t) const {
        return x_.pairs + ((product * half + s) * half + t) * L;
    }
};

}  // namespace scan

ATTENTA_END
