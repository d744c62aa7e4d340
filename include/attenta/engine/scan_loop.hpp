// The scan of one instruction set. See scan.hpp.
//
// A chunk of n tokens, S0 the state before it, E_t the decay from the chunk's start to t, F_s that from s to its end:
//     P_ts = Σ_d q_td k_sd · decay from s to t           tiles of queries × keys
//     o_t  = scale · [ (q_t E_t) S0 + Σ_s P_ts n_s ]     n_s: the values, or what the delta rules make of them
//     S    = E_n S0 + Σ_s (k_s F_s) n_sᵀ
// The state lives in panels [panel][channel][column] meanwhile.
#pragma once

#include <attenta/engine/scan_scratch.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/micro.hpp>
#include <attenta/simd/pack.hpp>
#include <attenta/simd/rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

template <class Arch>
class ScanLoop {
    using Batch = simd::Batch<Arch>;
    static constexpr std::int64_t L = simd::lanes<Arch>;
    /// The register tile: its rows divide a sub-block and a vector; where registers are left, vectors make up for rows.
    static constexpr int lanes = static_cast<int>(L), R = simd::TileShape<Arch>::rows >= 8 && lanes >= 8 ? 8 : 4,
                         vectors = simd::TileShape<Arch>::rows >= 8 ? 16 / R : 2;
    static constexpr std::int64_t W = vectors * L, half = block / 2;

public:
    ScanLoop(const Job& job, const Task& task, std::byte* memory)
        : job_(job),
          r_(job.r),
          head_(task.head),
          column_(task.column_begin),
          columns_(task.column_end - task.column_begin),
          panels_((columns_ + W - 1) / W),
          dim_(job.dim),
          d_stride_(round_up(dim_, L)),
          carver_(memory),
          x_(carver_, job, columns_),
          by_channel_(decays_by_channel(r_)),
          by_token_(!by_channel_ && r_.g.data && r_.g.tokens > 1) {}

    void run() {
        const std::int64_t keys = r_.k.tokens, queries = r_.q.tokens, first = r_.causal ? keys - queries : keys;
        in_place_ = keys <= few_tokens && queries <= few_tokens && columns_ % L == 0;
        if (!in_place_) load_state();
        if (r_.normalizer) std::copy_n(job_.state->normalizer.data() + head_ * dim_, dim_, x_.z);
        if (!by_channel_ && !by_token_) {
            const double g = r_.g.data ? static_cast<double>(row(r_.g, 0)[0]) : 0;
            x_.step[0] = static_cast<float>(std::exp(g));
            if (keys > few_tokens) constant_decays(g);
        }
        for (std::int64_t t = 0; t < first; t += chunk) pass({t, std::min(chunk, first - t), false, true, 0});
        for (std::int64_t t = 0; t < queries; t += chunk)
            pass({r_.causal ? first + t : 0, std::min(chunk, queries - t), true, r_.causal, t});
        if (!in_place_) store_state();
        if (r_.normalizer && column_ == 0) std::copy_n(x_.z, dim_, job_.normalizers + head_ * dim_);
    }

private:
    /// Tokens begin .. begin + count - 1 of the keys; queries query_begin .. of as many.
    struct Span {
        std::int64_t begin = 0, count = 0;
        bool queries = false, keys = false;
        std::int64_t query_begin = 0;
    };

    static std::int64_t spread(std::int64_t head, std::int64_t heads, std::int64_t of) { return head / (heads / of); }
    const float* row(const Heads<const float>& x, std::int64_t t) const {
        return x.row(spread(head_, job_.state_heads, x.heads), t);
    }
    float beta(std::int64_t t) const { return r_.beta.data ? row(r_.beta, t)[0] : 1.f; }
    std::int64_t group() const { return job_.out_heads / job_.state_heads; }

    /// Rows of a chunk, readable in whole vectors.
    struct Rows {
        const float* first = nullptr;
        std::int64_t stride = 0;
        const float* operator[](std::int64_t t) const { return first + t * stride; }
    };

    void pass(const Span& span) {
        span_ = span;
        n_ = span.count;
        if (n_ <= few_tokens || r_.gv.data)
            steps();
        else
            chunked();
    }

    void chunked() {
        plan_ahead();
        if (span_.keys) {
            load_keys();
            if (by_channel_)
                channel_decays();
            else if (by_token_)
                token_decays();
            load_values();
            if (r_.update == Update::additive)
                x_.added = x_.v;
            else
                correct();
        }
        if (span_.queries)
            for (std::int64_t i = 0; i < group(); ++i) read(head_ * group() + i);
        if (span_.keys) update();
    }

    // Rows of the next chunk are asked for a few at a time between the products of this one: heads of token-major
    // tensors lie far apart, where processors do not look ahead by themselves.

    struct Ahead {
        const float* first;
        std::int64_t stride, dim;
    };

    void plan_ahead() {
        ahead_tensors_ = asked_ = 0;
        const std::int64_t keys = span_.begin + chunk, queries = span_.query_begin + chunk;
        ahead_rows_ = std::min(chunk, span_.keys ? r_.k.tokens - keys : r_.q.tokens - queries);
        if (ahead_rows_ <= 0) return;
        const auto plan = [&](const Heads<const float>& x, std::int64_t heads, std::int64_t head, std::int64_t token) {
            if (x.data) ahead_[ahead_tensors_++] = {x.row(spread(head, heads, x.heads), token), x.token_stride, x.dim};
        };
        if (span_.keys)
            for (const auto* x : {&r_.k, &r_.v, &r_.a, &r_.b}) plan(*x, job_.state_heads, head_, keys);
        if (span_.keys && by_channel_) plan(r_.g, job_.state_heads, head_, keys);
        if (span_.queries) plan(r_.q, job_.out_heads, head_ * group(), queries);
    }

    /// Inlined by force: compilers see no effect in it.
    ATTENTA_ALWAYS_INLINE void ask_ahead() const {
        for (int i = 0; i < 2 && asked_ < ahead_tensors_ * ahead_rows_; ++i, ++asked_) {
            const Ahead& x = ahead_[asked_ / ahead_rows_];
            const float* const row = x.first + asked_ % ahead_rows_ * x.stride;
            for (std::int64_t d = 0; d < x.dim; d += 16) simd::prefetch(row + d);
        }
    }

    // Decays.

    /// pow[j] = exp(g j), and from it everything of a full chunk.
    void constant_decays(double g) {
        for (std::int64_t j = 0; j <= chunk; ++j)
            x_.power[j] = j == 0 ? 1.f : static_cast<float>(std::exp(g * static_cast<double>(j)));
        std::copy_n(x_.power + 1, chunk, x_.from_start);
        for (std::int64_t t = 0; t < chunk; ++t)
            for (std::int64_t s = 0; s < chunk; ++s) x_.between[t * chunk + s] = s <= t ? x_.power[t - s] : 0.f;
    }

    void token_decays() {
        float g[chunk], sum[chunk];
        double total[chunk], running = 0;
        for (std::int64_t t = 0; t < n_; ++t) {
            g[t] = std::max(-104.f, row(r_.g, span_.begin + t)[0]);  // exp is 0 there, and no inf - inf comes about
            total[t] = running += static_cast<double>(g[t]);
            sum[t] = static_cast<float>(running);
        }
        map_exp(g, x_.step, n_);
        map_exp(sum, x_.from_start, n_);
        for (std::int64_t t = 0; t < n_; ++t) sum[t] = static_cast<float>(running - total[t]);
        map_exp(sum, x_.to_end, n_);
        for (std::int64_t t = 0; t < n_; ++t) {
            float* const now = x_.between + t * chunk;
            if (t > 0)
                for (std::int64_t s = 0; s < round_up(t, L); s += L)
                    (simd::load<Arch>(now - chunk + s) * Batch(x_.step[t])).store_unaligned(now + s);
            now[t] = 1.f;
        }
    }

    static void map_exp(const float* x, float* y, std::int64_t n) {
        simd::map_row<Arch>(x, y, n, [](Batch v) ATTENTA_FLATTEN { return simd::exp_nonpositive<Arch>(v); });
    }

    /// e[t][channel] = exp(g), and of the whole chunk the exponential of the sum.
    void channel_decays() {
        std::fill_n(x_.sums, dim_, 0.);
        for (std::int64_t t = 0; t < n_; ++t) {
            const float* const g = row(r_.g, span_.begin + t);
            map_exp(g, x_.e + t * d_stride_, dim_);
            std::fill(x_.e + t * d_stride_ + dim_, x_.e + (t + 1) * d_stride_, 0.f);
            for (std::int64_t d = 0; d < dim_; ++d) x_.sums[d] += static_cast<double>(g[d]);
        }
        for (std::int64_t d = 0; d < dim_; ++d) x_.chunk_decay[d] = static_cast<float>(x_.sums[d]);
        map_exp(x_.chunk_decay, x_.chunk_decay, dim_);
    }

    float to_end(std::int64_t s) const { return by_token_ ? x_.to_end[s] : x_.power[n_ - 1 - s]; }
    float whole_chunk() const { return by_token_ ? x_.from_start[n_ - 1] : x_.power[n_]; }

    // Rows of a chunk, mapped where the mechanism maps, padded with zeros to whole vectors.

    float load_row(const RowMap& map, const float* from, std::int64_t width, std::int64_t head, std::int64_t position,
                   float* to) const {
        float log = 0;
        if (map)
            log = map.function({map.parameters, width, dim_, head, position}, from, to);
        else
            std::copy_n(from, dim_, to);
        std::fill(to + dim_, to + d_stride_, 0.f);
        return log;
    }

    /// Rows of head `head` from token `begin` on: where they lie, or in `to` if they are mapped or end in a part of a
    /// vector.
    Rows load_rows(const RowMap& map, const Heads<const float>& x, std::int64_t head, std::int64_t begin, float* to,
                   float* logs) const {
        if (!map && dim_ % L == 0) return {x.row(head, begin), x.token_stride};
        if (map.together) {
            map.together({{map.parameters, x.dim, dim_, head, begin}, n_, x.token_stride, d_stride_},
                         x.row(head, begin), to);
            for (std::int64_t t = 0; t < n_; ++t) std::fill(to + t * d_stride_ + dim_, to + (t + 1) * d_stride_, 0.f);
            if (logs) std::fill_n(logs, n_, 0.f);
            return {to, d_stride_};
        }
        for (std::int64_t t = 0; t < n_; ++t) {
            const float log = load_row(map, x.row(head, begin + t), x.dim, head, begin + t, to + t * d_stride_);
            if (logs) logs[t] = log;
        }
        return {to, d_stride_};
    }

    void load_keys() {
        const auto rows = [&](const RowMap& map, const Heads<const float>& x, float* to) {
            return load_rows(map, x, spread(head_, job_.state_heads, x.heads), span_.begin, to, nullptr);
        };
        k_ = rows(r_.k_map, r_.k, x_.k);
        if (r_.update != Update::low_rank) return;
        a_ = rows({}, r_.a, x_.a);
        b_ = rows({}, r_.b, x_.b);
    }

    void load_values() {
        for (std::int64_t p = 0; p < panels_; ++p)
            for (std::int64_t s = 0; s < n_; ++s)
                load_columns(row(r_.v, span_.begin + s) + column_, p,
                             r_.update == Update::additive ? beta(span_.begin + s) : 1.f, x_.v + (p * chunk + s) * W);
    }

    void load_columns(const float* from, std::int64_t panel, float factor, float* to) const {
        const std::int64_t here = std::min(W, columns_ - panel * W);
        for (std::int64_t c = 0; c < W; c += L)
            (load_up_to(from + panel * W + c, here - c) * Batch(factor)).store_unaligned(to + c);
    }

    /// A vector of which `left` elements exist, none if that is below 1.
    static Batch load_up_to(const float* x, std::int64_t left) {
        return left >= L ? simd::load<Arch>(x) : left > 0 ? simd::load_part<Arch>(x, left) : Batch(0.f);
    }

    // State.

    float* state_panel(std::int64_t p) const { return x_.state + p * W * round_up(dim_, R); }

    void load_state() {
        for (std::int64_t p = 0; p < panels_; ++p) {
            for (std::int64_t d = 0; d < dim_; ++d)
                load_columns(job_.state->of(head_) + d * job_.dim_v + column_, p, 1.f, state_panel(p) + d * W);
            std::fill(state_panel(p) + dim_ * W, state_panel(p) + round_up(dim_, R) * W, 0.f);
        }
    }

    void store_state() const {
        for (std::int64_t p = 0; p < panels_; ++p)
            for (std::int64_t d = 0; d < dim_; ++d)
                std::copy_n(state_panel(p) + d * W, std::min(W, columns_ - p * W),
                            job_.state->of(head_) + d * job_.dim_v + column_ + p * W);
    }

    // Products of a chunk.

    /// [strip][channel][lane], rows behind the last repeat it.
    void pack_strips(Rows rows, std::int64_t count, float* strips) const {
        for (std::int64_t i = 0; i < count; i += L) {
            const float* of[static_cast<std::size_t>(L)];
            for (std::int64_t u = 0; u < L; ++u) of[u] = rows[std::min(i + u, count - 1)];
            simd::pack_queries<Arch, lanes>(of, dim_, 1.f, strips + i * dim_);
        }
    }
    /// Where row i of packed strips begins; its channels lie `lanes` apart.
    const float* strip_row(const float* strips, std::int64_t i) const { return strips + i / L * L * dim_ + i % L; }

    void pack_panels(Rows rows, std::int64_t count) {
        for (std::int64_t s = 0; s < count; ++s) x_.rows[s] = reinterpret_cast<const std::byte*>(rows[s]);
        simd::pack_keys<Arch, vectors, float>(x_.rows, 0, count, dim_, x_.panels);
    }

    /// P[row][key] of one strip for keys below `keys`.
    void strip_products(const float* strip, std::int64_t keys, float* p) const {
        for (std::int64_t key = 0; key < keys; key += W) {
            const float* const panel = x_.panels + key * dim_;
            if (keys - key > L)
                simd::register_tile<Arch, R, vectors, 1, lanes, simd::Start::zero>(strip, panel, W, dim_, p + key,
                                                                                   chunk, nullptr);
            else
                simd::register_tile<Arch, R, 1, 1, lanes, simd::Start::zero>(strip, panel, W, dim_, p + key, chunk,
                                                                             nullptr);
        }
    }

    /// Products with one decay for all channels: P = (X Kᵀ) ⊙ decays, zero above the diagonal, with `strict` on it too.
    void plain_products(const float* strips, bool strict, float* p) const {
        for (std::int64_t i = 0; i < n_; i += R) {
            strip_products(strip_row(strips, i), std::min(i + R, n_), p + i * chunk);
            for (std::int64_t t = i; t < std::min(i + R, n_); ++t) {
                const std::int64_t seen = t + (strict ? 0 : 1);
                for (std::int64_t s = 0; s < round_up(i + R, L); s += L) {
                    const Batch x = simd::load<Arch>(p + t * chunk + s) * simd::load<Arch>(x_.between + t * chunk + s);
                    const std::int64_t left = seen - s;
                    const auto bits = left >= L ? ~0u : left <= 0 ? 0u : (1u << left) - 1u;
                    simd::keep<Arch>(bits, x, Batch(0.f)).store_unaligned(p + t * chunk + s);
                }
            }
        }
    }

    // Products with a decay per channel: P_ts = Σ_d x_td y_sd exp(sum of g over s+1 .. t). Blocks of tokens meet earlier
    // ones as matrices, queries decayed from the block's start, keys to it; halves of a block likewise; what is left
    // goes pair by pair.

    struct Query {
        Rows rows;
        bool before;       ///< the sum ends at t - 1, and s < t
        float* strips;     ///< rows decayed from the chunk's start, packed for products with the state
        float* p[2] = {};  ///< products with each side
    };
    struct Side {
        Rows rows;
        float* decayed;  ///< rows decayed to the block that is being worked on, at last to the chunk's end
    };

    template <int Queries, int Sides>
    void channel_products(const Query (&queries)[Queries], const Side (&sides)[Sides]) {
        std::fill_n(x_.since_start, d_stride_, 1.f);
        for (std::int64_t r = 0; r < n_; r += block) {
            const std::int64_t count = std::min(block, n_ - r);
            for (const Query& q : queries) {
                prefix(q.rows, r, count, q.before, x_.block_rows);
                pack_strips({x_.block_rows, d_stride_}, count, r == 0 ? q.strips : x_.block_strips);
                if (r == 0) continue;
                for (int side = 0; side < Sides; ++side) {
                    if (Sides > 1 || &q == queries) pack_panels({sides[side].decayed, d_stride_}, r);
                    for (std::int64_t i = 0; i < count; i += R)
                        strip_products(strip_row(x_.block_strips, i), r, q.p[side] + (r + i) * chunk);
                }
                decay_strips(x_.block_strips, x_.since_start, count, q.strips + r * dim_);
            }
            multiply(x_.since_start, x_.block_decay);
            for (const Side& y : sides) {
                for (std::int64_t s = 0; s < r; ++s) multiply(y.decayed + s * d_stride_, x_.block_decay);
                suffix(y.rows, r, count, y.decayed + r * d_stride_);
            }
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

    /// Rows first .. first + count - 1 times the decay from `first` on; block_decay is that of all of them.
    void prefix(Rows x, std::int64_t first, std::int64_t count, bool before, float* to) {
        for (std::int64_t d = 0; d < d_stride_; d += L) {
            Batch w(1.f);
            for (std::int64_t t = 0; t < count; ++t) {
                const Batch now = w * simd::load<Arch>(x_.e + (first + t) * d_stride_ + d);
                (simd::load<Arch>(x[first + t] + d) * (before ? w : now)).store_unaligned(to + t * d_stride_ + d);
                w = now;
            }
            w.store_unaligned(x_.block_decay + d);
        }
    }

    /// Rows first .. first + count - 1 times the decay from behind them to the last one.
    void suffix(Rows y, std::int64_t first, std::int64_t count, float* to) const {
        for (std::int64_t d = 0; d < d_stride_; d += L) {
            Batch w(1.f);
            for (std::int64_t s = count - 1; s >= 0; --s) {
                (simd::load<Arch>(y[first + s] + d) * w).store_unaligned(to + s * d_stride_ + d);
                w = w * simd::load<Arch>(x_.e + (first + s) * d_stride_ + d);
            }
        }
    }

    /// The second half of the block at r, of `count` rows, with the first.
    template <int Queries, int Sides>
    void half_products(const Query (&queries)[Queries], const Side (&sides)[Sides], std::int64_t r,
                       std::int64_t count) {
        for (int side = 0; side < Sides; ++side) {
            suffix(sides[side].rows, r, half, x_.block_rows);
            pack_panels({x_.block_rows, d_stride_}, half);
            for (const Query& q : queries) {
                prefix(q.rows, r + half, count, q.before, x_.block_rows);
                pack_strips({x_.block_rows, d_stride_}, count, x_.block_strips);
                float p[static_cast<std::size_t>(half * chunk)];
                for (std::int64_t i = 0; i < count; i += R)
                    strip_products(strip_row(x_.block_strips, i), half, p + i * chunk);
                for (std::int64_t t = 0; t < count; ++t)
                    std::copy_n(p + t * chunk, half, q.p[side] + (r + half + t) * chunk + r);
            }
        }
    }

    /// `count` rows from `first` on, pair by pair, the key decaying on its way down.
    template <int Queries, int Sides>
    void pair_products(const Query (&queries)[Queries], const Side (&sides)[Sides], std::int64_t first,
                       std::int64_t count) {
        constexpr int wide = Queries * Sides > 1 ? 4 : 8;
        constexpr std::int64_t pairs = half * half;
        std::fill_n(x_.pairs, Queries * Sides * pairs * L, 0.f);
        for (std::int64_t s = 0; s < count; ++s) {
            std::int64_t d = 0;
            for (; d + wide * L <= d_stride_; d += wide * L) pair_column<wide>(queries, sides, d, first, s, count);
            for (; d < d_stride_; d += L) pair_column<1>(queries, sides, d, first, s, count);
        }
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

    /// pairs[query, side][s][t] += vectors d .. d + N - 1 of the products of key s with rows s .. count - 1.
    template <int N, int Queries, int Sides>
    void pair_column(const Query (&queries)[Queries], const Side (&sides)[Sides], std::int64_t d, std::int64_t first,
                     std::int64_t s, std::int64_t count) {
        Batch w[Sides][N];
        simd::unrolled<Sides>([&](auto y) ATTENTA_FLATTEN {
            const float* const from = sides[y].rows[first + s] + d;
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { w[y][n] = simd::load<Arch>(from + n * L); });
        });
        const auto add = [&](std::int64_t t, auto query) ATTENTA_FLATTEN {
            const float* const x = queries[query].rows[first + t] + d;
            Batch sum[Sides];
            simd::unrolled<Sides>([&](auto y)
                                      ATTENTA_FLATTEN { sum[y] = simd::load<Arch>(pair(query * Sides + y, s, t)); });
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

    // The delta rules: values that the chunk really adds, N = (I - A)⁻¹ (right-hand side).

    void correct() {
        const bool low_rank = r_.update == Update::low_rank;
        if (by_channel_) {
            // The first query head comes along: it shares the decays.
            const std::int64_t head = spread(head_ * group(), job_.out_heads, r_.q.heads);
            const bool read_too = span_.queries;
            if (read_too) q_ = load_rows(r_.q_map, r_.q, head, span_.query_begin, x_.q, x_.log);
            const Query q{q_, false, x_.query_strips, {x_.p, x_.p2}};
            if (low_rank) {
                const Side sides[] = {{k_, x_.decayed_k}, {b_, x_.decayed_b}};
                const Query a{a_, true, x_.strips, {x_.inner, x_.solve}};
                read_too ? channel_products<2, 2>({a, q}, sides) : channel_products<1, 2>({a}, sides);
            } else {
                const Side sides[] = {{k_, x_.decayed_k}};
                const Query k{k_, false, x_.strips, {x_.solve}};
                read_too ? channel_products<2, 1>({k, q}, sides) : channel_products<1, 1>({k}, sides);
            }
        } else {
            pack_strips(k_, n_, x_.strips);
            pack_panels(k_, n_);
            plain_products(x_.strips, true, x_.solve);
        }
        if (!low_rank)
            for (std::int64_t t = 0; t < n_; ++t) {
                const Batch factor(-beta(span_.begin + t));
                for (std::int64_t s = 0; s < chunk; s += L)
                    (simd::load<Arch>(x_.solve + t * chunk + s) * factor).store_unaligned(x_.solve + t * chunk + s);
            }
        for (std::int64_t p = 0; p < panels_; ++p)
            for (std::int64_t i = 0; i < n_; i += R) solve_strip(p, i);
        x_.added = x_.n;
    }

    void solve_strip(std::int64_t panel, std::int64_t i) {
        const std::int64_t rows = std::min<std::int64_t>(R, n_ - i);
        float* const n = x_.n + (panel * chunk + i) * W;
        const float *const all = x_.n + panel * chunk * W, *const v = x_.v + panel * chunk * W;
        simd::register_tile<Arch, R, vectors, 1, lanes, simd::Start::zero>(strip_row(x_.strips, i), state_panel(panel),
                                                                           W, dim_, n, W, nullptr);
        if (r_.update == Update::low_rank)
            simd::register_tile<Arch, R, vectors, chunk, 1, simd::Start::keep>(x_.inner + i * chunk, v, W, i, n, W,
                                                                               nullptr);
        else
            for (std::int64_t t = 0; t < rows; ++t) {
                const Batch b(beta(span_.begin + i + t)), e(by_channel_ ? 1.f : x_.from_start[i + t]);
                for (std::int64_t c = 0; c < W; c += L)
                    (b * (simd::load<Arch>(v + (i + t) * W + c) - e * simd::load<Arch>(n + t * W + c)))
                        .store_unaligned(n + t * W + c);
            }
        simd::register_tile<Arch, R, vectors, chunk, 1, simd::Start::keep>(x_.solve + i * chunk, all, W, i, n, W,
                                                                           nullptr);
        for (std::int64_t t = 1; t < rows; ++t)
            for (std::int64_t s = 0; s < t; ++s) {
                const std::int64_t pair = (i + t) * chunk + i + s;
                if (r_.update == Update::low_rank) add_row(x_.inner[pair], v + (i + s) * W, n + t * W);
                add_row(x_.solve[pair], n + s * W, n + t * W);
            }
    }

    static void add_row(float a, const float* x, float* y) {
        for (std::int64_t c = 0; c < W; c += L)
            simd::fma<Arch>(Batch(a), simd::load<Arch>(x + c), simd::load<Arch>(y + c)).store_unaligned(y + c);
    }

    // Outputs of one query head.

    void read(std::int64_t out_head) {
        const std::int64_t head = spread(out_head, job_.out_heads, r_.q.heads);
        const bool first = out_head == head_ * group(), corrected = r_.update != Update::additive;
        if (by_channel_ && corrected && first) {
            // Its products were made with those of the correction.
        } else if (span_.keys && by_channel_) {
            q_ = load_rows(r_.q_map, r_.q, head, span_.query_begin, x_.q, x_.log);
            const Query q{q_, r_.read_before, x_.query_strips, {x_.p, x_.p2}};
            if (r_.update == Update::low_rank)
                channel_products<1, 2>({q}, {{k_, x_.decayed_k}, {b_, x_.decayed_b}});
            else
                channel_products<1, 1>({q}, {{k_, x_.decayed_k}});
            if (r_.read_before) add_bonus();
        } else {
            q_ = load_rows(r_.q_map, r_.q, head, span_.query_begin, x_.q, x_.log);
            pack_strips(q_, n_, x_.query_strips);
            if (span_.keys && !corrected && first) pack_panels(k_, n_);
            if (span_.keys) plain_products(x_.query_strips, false, x_.p);
        }
        row_factors(out_head);
        for (std::int64_t p = 0; p < panels_; ++p)
            for (std::int64_t i = 0; i < n_; i += R) {
                const std::int64_t rows = std::min<std::int64_t>(R, n_ - i);
                ask_ahead();
                read_rows<R>(p, i, i + rows);
                if (write_rows(out_head, p, i, rows)) continue;
                // A NaN or infinity of a later row of the strip met a weight of zero, or is a row's true result: each
                // row with what it sees alone.
                for (std::int64_t t = i; t < i + rows; ++t) {
                    read_rows<1>(p, t, t + 1);
                    write_rows(out_head, p, t, 1);
                }
            }
    }

    void row_factors(std::int64_t out_head) {
        for (std::int64_t t = 0; t < n_; ++t) {
            x_.factor[t] = r_.scale;
            if (r_.finish.factor)
                x_.factor[t] *=
                    r_.finish.factor(r_.finish.parameters, out_head, span_.query_begin + t, weight_sum(t), x_.log[t]);
        }
    }

    float bonus_weight(const float* q, const float* u, const float* k) const {
        Batch sum(0.f);
        std::int64_t d = 0;
        for (; d + L <= dim_; d += L)
            sum = simd::fma<Arch>(simd::load<Arch>(q + d) * simd::load<Arch>(u + d), simd::load<Arch>(k + d), sum);
        float rest = simd::reduce_add<Arch>(sum);
        for (; d < dim_; ++d) rest += q[d] * u[d] * k[d];
        return rest;
    }

    void add_bonus() {
        const float* const u = row(r_.u, 0);
        for (std::int64_t t = 0; t < n_; ++t) x_.p[t * chunk + t] = bonus_weight(q_[t], u, k_[t]);
    }

    /// Sums of rows i .. i + Rows - 1 of a panel over the state and tokens below `depth`.
    template <int Rows>
    void read_rows(std::int64_t panel, std::int64_t i, std::int64_t depth) const {
        const float *const strip = strip_row(x_.query_strips, i), *const weights = x_.p + i * chunk;
        float* const o = x_.o;
        simd::register_tile<Arch, Rows, vectors, 1, lanes, simd::Start::zero>(strip, state_panel(panel), W, dim_, o, W,
                                                                              nullptr);
        if (!span_.keys) return;
        const float *const v = x_.v + panel * chunk * W, *const added = x_.added + panel * chunk * W;
        if (by_channel_)
            simd::register_tile<Arch, Rows, vectors, chunk, 1, simd::Start::keep>(
                weights, r_.update == Update::low_rank ? v : added, W, depth, o, W, nullptr);
        else
            simd::register_tile<Arch, Rows, vectors, chunk, 1, simd::Start::scale>(weights, added, W, depth, o, W,
                                                                                   x_.from_start + i);
        if (r_.update == Update::low_rank)
            simd::register_tile<Arch, Rows, vectors, chunk, 1, simd::Start::keep>(x_.p2 + i * chunk, added, W, depth, o,
                                                                                  W, nullptr);
    }

    /// Writes a panel's columns of rows i .. i + rows - 1 and returns whether they are finite.
    bool write_rows(std::int64_t out_head, std::int64_t panel, std::int64_t i, std::int64_t rows) const {
        const std::int64_t columns = std::min(W, columns_ - panel * W);
        bool finite = true;
        for (std::int64_t t = 0; t < rows; ++t)
            finite = simd::finish_row<Arch>(job_.o.row(out_head, span_.query_begin + i + t) + column_ + panel * W,
                                            x_.o + t * W, columns, x_.factor[i + t]) &&
                     finite;
        return finite;
    }

    /// Sum of the weights of row t: of the state's keys and of the chunk's.
    float weight_sum(std::int64_t t) const {
        if (!r_.normalizer) return 0;
        float rest = 0;
        Batch sum = partial_dot(q_[t], x_.z, rest);
        if (span_.keys) {
            sum = sum * Batch(x_.from_start[t]);
            rest *= x_.from_start[t];
            for (std::int64_t s = 0; s <= t; s += L) sum = sum + simd::load<Arch>(x_.p + t * chunk + s);  // 0 behind t
        }
        return simd::reduce_add<Arch>(sum) + rest;
    }

    /// a·b in lanes, in several chains; channels behind the last whole vector in `rest`.
    Batch partial_dot(const float* a, const float* b, float& rest) const {
        constexpr int chains = 4;
        Batch sum[chains] = {Batch(0.f), Batch(0.f), Batch(0.f), Batch(0.f)};
        std::int64_t d = 0;
        for (; d + chains * L <= dim_; d += chains * L)
            simd::unrolled<chains>([&](auto i) ATTENTA_FLATTEN {
                sum[i] = simd::fma<Arch>(simd::load<Arch>(a + d + i * L), simd::load<Arch>(b + d + i * L), sum[i]);
            });
        for (; d + L <= dim_; d += L)
            sum[0] = simd::fma<Arch>(simd::load<Arch>(a + d), simd::load<Arch>(b + d), sum[0]);
        for (; d < dim_; ++d) rest += a[d] * b[d];
        return (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }

    float dot(const float* a, const float* b) const {
        float rest = 0;
        const Batch sum = partial_dot(a, b, rest);
        return simd::reduce_add<Arch>(sum) + rest;
    }

    // The state behind the chunk.

    void update() {
        if (r_.update == Update::low_rank) {
            add_outer({x_.decayed_k, d_stride_}, x_.v, true);
            add_outer({x_.decayed_b, d_stride_}, x_.n, false);
            return;
        }
        if (by_channel_) {
            if (!span_.queries && r_.update == Update::additive) suffix(k_, 0, n_, x_.decayed_k);
            add_outer({x_.decayed_k, d_stride_}, x_.added, true);
        } else {
            add_outer(k_, x_.added, true);
            if (r_.normalizer) add_normalizer();
        }
    }

    /// S = (decay of the chunk, if `decays`) S + Σ_s rows_s values_sᵀ; rows with one decay for all channels get it here.
    void add_outer(Rows rows, const float* values, bool decays) {
        for (std::int64_t s = 0; s < n_; ++s) {
            const Batch f(by_channel_ ? 1.f : to_end(s));
            for (std::int64_t d = 0; d < d_stride_; d += L)
                (simd::load<Arch>(rows[s] + d) * f).store_unaligned(x_.columns + d * n_ + s * L);
        }
        float factor[R];
        for (std::int64_t p = 0; p < panels_; ++p)
            for (std::int64_t d = 0; d < dim_; d += R) {
                ask_ahead();
                for (std::int64_t u = 0; u < R; ++u)
                    factor[u] = !decays ? 1.f : by_channel_ ? x_.chunk_decay[std::min(d + u, dim_ - 1)] : whole_chunk();
                simd::register_tile<Arch, R, vectors, 1, lanes, simd::Start::scale>(x_.columns + d / L * L * n_ + d % L,
                                                                                    values + p * chunk * W, W, n_,
                                                                                    state_panel(p) + d * W, W, factor);
            }
    }

    void add_normalizer() {
        simd::scale_row<Arch>(x_.z, dim_, whole_chunk());
        for (std::int64_t s = 0; s < n_; ++s) simd::add_row<Arch>(x_.z, k_[s], dim_, to_end(s));
    }

    // Token by token.

    void steps() {
        for (std::int64_t t = 0; t < n_; ++t) {
            if (span_.keys) load_token(t);
            if (!span_.queries) std::fill_n(x_.step_q, d_stride_, 0.f);
            for (std::int64_t i = 0; i < (span_.queries ? group() : 0); ++i) {
                const std::int64_t head = spread(head_ * group() + i, job_.out_heads, r_.q.heads);
                x_.log[i] = load_row(r_.q_map, r_.q.row(head, span_.query_begin + t), r_.q.dim, head,
                                     span_.query_begin + t, x_.step_q + i * d_stride_);
            }
            if (r_.normalizer && span_.keys)
                for (std::int64_t d = 0; d < dim_; ++d) x_.z[d] = x_.z[d] * x_.e[d] + x_.k[d];
            if (in_place_)
                step_columns(t, job_.state->of(head_) + column_, job_.dim_v);
            else
                for (std::int64_t p = 0; p < panels_; ++p) step_panel(t, p);
            if (span_.queries)
                for (std::int64_t i = 0; i < group(); ++i) finish_step(t, i);
        }
    }

    /// Row 0 of e, k, a, b: decays, key, and what predicts and takes part in low-rank updates.
    void load_token(std::int64_t t) {
        const std::int64_t at = span_.begin + t, head = spread(head_, job_.state_heads, r_.k.heads);
        if (by_channel_)
            map_exp(row(r_.g, at), x_.e, dim_);
        else
            std::fill_n(x_.e, dim_, by_token_ ? std::exp(row(r_.g, at)[0]) : x_.step[0]);
        load_row(r_.k_map, r_.k.row(head, at), r_.k.dim, head, at, x_.k);
        if (r_.update == Update::delta)
            for (std::int64_t d = 0; d < dim_; ++d) x_.a[d] = x_.k[d] * x_.e[d];
        if (r_.update == Update::low_rank) {
            load_row({}, row(r_.a, at), dim_, 0, 0, x_.a);
            load_row({}, row(r_.b, at), dim_, 0, 0, x_.b);
        }
    }

    void step_columns(std::int64_t t, float* state, std::int64_t stride) {
        constexpr int wide = L >= 16 ? 8 : 4;
        std::int64_t c = 0;
        for (; c + wide * L <= columns_; c += wide * L) step_block<wide>(t, state + c, stride, c, wide * L);
        for (; c + 2 * L <= columns_; c += 2 * L) step_block<2>(t, state + c, stride, c, 2 * L);
        if (c < columns_) step_block<1>(t, state + c, stride, c, L);
    }

    void step_panel(std::int64_t t, std::int64_t p) {
        step_block<vectors>(t, state_panel(p), W, p * W, std::min(W, columns_ - p * W));
    }

    /// `valid` columns from column c on; the others hold zeros.
    template <int N>
    void step_block(std::int64_t t, float* state, std::int64_t stride, std::int64_t c, std::int64_t valid) {
        const auto columns = [&](const float* from, Batch(&to)[N]) ATTENTA_FLATTEN {
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { to[n] = load_up_to(from + c + n * L, valid - n * L); });
        };
        const std::int64_t heads = span_.queries ? group() : 0;
        if (!span_.keys) return read_heads<N>(0, heads, state, stride, c, nullptr);
        Batch v[N], y[N];
        columns(row(r_.v, span_.begin + t) + column_, v);
        const Batch b(beta(span_.begin + t));
        if (r_.gv.data) {
            columns(row(r_.gv, span_.begin + t) + column_, y);
            gate_values<N>(y, state, stride);
        }
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { y[n] = Batch(0.f); });
        if (r_.update != Update::additive) state_dot<N>(x_.a, state, stride, y);
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
            if (r_.update == Update::additive) v[n] = v[n] * b;
            if (r_.update == Update::delta) v[n] = (v[n] - y[n]) * b;
        });
        // The first query head reads while the state is written.
        Batch o[N];
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { o[n] = Batch(0.f); });
        if (r_.read_before) {
            read_heads<N>(1, heads, state, stride, c, v);
            advance<N, false, true>(state, stride, v, y, o);
        } else if (r_.update == Update::low_rank) {
            advance<N, true, false>(state, stride, v, y, o);
        } else {
            advance<N, false, false>(state, stride, v, y, o);
        }
        if (heads > 0) write_head<N>(0, c, o, r_.read_before ? v : nullptr);
        if (!r_.read_before) read_heads<N>(1, heads, state, stride, c, nullptr);
    }

    /// S = S diag(exp g)
    template <int N>
    void gate_values(Batch (&g)[N], float* state, std::int64_t stride) const {
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { g[n] = simd::exp_nonpositive<Arch>(g[n]); });
        for (std::int64_t d = 0; d < dim_; ++d, state += stride)
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                (simd::load<Arch>(state + n * L) * g[n]).store_unaligned(state + n * L);
            });
    }

    /// y += Sᵀ a
    template <int N>
    void state_dot(const float* a, const float* state, std::int64_t stride, Batch (&y)[N]) const {
        for (std::int64_t d = 0; d < dim_; ++d, state += stride)
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                y[n] = simd::fma<Arch>(Batch(a[d]), simd::load<Arch>(state + n * L), y[n]);
            });
    }

    /// S = e S + k vᵀ (+ b yᵀ), and o += Sᵀ q of the first query head, of the old state with `Before`.
    template <int N, bool LowRank, bool Before>
    void advance(float* state, std::int64_t stride, const Batch (&v)[N], const Batch (&y)[N], Batch (&o)[N]) const {
        // Meanwhile the next head's state may come.
        const float* const next = in_place_ && head_ + 1 < job_.state_heads ? state + dim_ * stride : nullptr;
        for (std::int64_t d = 0; d < dim_; ++d, state += stride) {
            if (next) simd::ask<N * L>(next + simd::in_streams(d, dim_) * stride);
            const Batch k(x_.k[d]), e(x_.e[d]), q(x_.step_q[d]), b(LowRank ? x_.b[d] : 0.f);
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                const Batch old = simd::load<Arch>(state + n * L);
                Batch now = simd::fma<Arch>(e, old, k * v[n]);
                if constexpr (LowRank) now = simd::fma<Arch>(b, y[n], now);
                now.store_unaligned(state + n * L);
                o[n] = simd::fma<Arch>(q, Before ? old : now, o[n]);
            });
        }
    }

    /// Outputs of heads begin .. end - 1 of the group; with `bonus`, its share of the token's values.
    template <int N>
    void read_heads(std::int64_t begin, std::int64_t end, const float* state, std::int64_t stride, std::int64_t c,
                    const Batch* bonus) const {
        for (std::int64_t i = begin; i < end; ++i) {
            Batch o[N];
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { o[n] = Batch(0.f); });
            state_dot<N>(x_.step_q + i * d_stride_, state, stride, o);
            write_head<N>(i, c, o, bonus);
        }
    }

    template <int N>
    void write_head(std::int64_t i, std::int64_t c, Batch (&o)[N], const Batch* bonus) const {
        const Batch weight(bonus ? bonus_weight(x_.step_q + i * d_stride_, row(r_.u, 0), x_.k) : 0.f);
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
            if (bonus) o[n] = simd::fma<Arch>(weight, bonus[n], o[n]);
            o[n].store_unaligned(x_.step_o + i * x_.o_stride + c + n * L);
        });
    }

    void finish_step(std::int64_t t, std::int64_t i) const {
        const std::int64_t head = head_ * group() + i, token = span_.query_begin + t;
        float factor = r_.scale;
        if (r_.finish.factor)
            factor *= r_.finish.factor(r_.finish.parameters, head, token,
                                       r_.normalizer ? dot(x_.step_q + i * d_stride_, x_.z) : 0.f, x_.log[i]);
        simd::finish_row<Arch>(job_.o.row(head, token) + column_, x_.step_o + i * x_.o_stride, columns_, factor);
    }

    const Job& job_;
    const Request& r_;
    const std::int64_t head_, column_, columns_, panels_, dim_, d_stride_;
    Carver carver_;
    Scratch x_;
    const bool by_channel_, by_token_;
    bool in_place_ = false;
    Span span_;
    Rows q_, k_, a_, b_;
    Ahead ahead_[6] = {};
    std::int64_t ahead_tensors_ = 0, ahead_rows_ = 0;
    mutable std::int64_t asked_ = 0;
    std::int64_t n_ = 0;
};

}  // namespace scan

ATTENTA_END
