// A chunk of the scan: its rows, decays and state panels, and products of its rows. See loop.hpp.
#pragma once

#include <attenta/engine/scan/scratch.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/pack.hpp>
#include <attenta/simd/prefetch.hpp>
#include <attenta/simd/register_tile.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

template <class A>
class Chunk {
public:
    Chunk(const Job& job, const Task& task, std::byte* memory)
        : job_(job),
          task_(task),
          r_(job.r),
          first_head_(task.head_begin),
          heads_(task.head_end - task.head_begin),
          column_(task.column_begin),
          columns_(task.column_end - task.column_begin),
          panels_((columns_ + W - 1) / W),
          dim_(job.dim),
          d_stride_(round_up(dim_, L)),
          arena_(memory),
          x_(arena_, job, columns_, heads_),
          by_channel_(decays_by_channel(r_)),
          by_token_(!by_channel_ && r_.g.data && r_.g.tokens > 1) {}

protected:
    using Arch = A;
    using Batch = simd::Batch<Arch>;
    static constexpr std::int64_t L = simd::lanes<Arch>;
    /// The register tile: its rows divide a sub-block and a vector; where registers are left, vectors make up for rows.
    static constexpr int lanes = static_cast<int>(L), R = simd::TileShape<Arch>::rows >= 8 && lanes >= 8 ? 8 : 4,
                         vectors = simd::TileShape<Arch>::rows >= 8 ? 16 / R : 2;
    static constexpr std::int64_t W = vectors * L, half = block / 2;

    void select_head(std::int64_t head) {
        head_ = head;
        x_.select_head(head - first_head_);
    }

    /// Tokens begin .. begin + count - 1 of the keys; queries query_begin .. of as many.
    struct Span {
        std::int64_t begin = 0, count = 0;
        bool queries = false, keys = false;
        std::int64_t query_begin = 0;
        bool updates = keys;
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
            // The exponential is 0 there, and no inf - inf comes about. In this order NaN stays.
            g[t] = std::max(row(r_.g, span_.begin + t)[0], -104.f);
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
        for (std::int64_t d = 0; d < dim_; ++d) x_.chunk_decay[d] = static_cast<float>(std::max(x_.sums[d], -104.));
        map_exp(x_.chunk_decay, x_.chunk_decay, dim_);
        std::fill(x_.chunk_decay + dim_, x_.chunk_decay + d_stride_, 0.f);
    }

    float to_end(std::int64_t s) const { return by_token_ ? x_.to_end[s] : x_.power[n_ - 1 - s]; }
    float whole_chunk() const { return by_token_ ? x_.from_start[n_ - 1] : x_.power[n_]; }

    // Rows of a chunk, mapped where the mechanism maps, padded with zeros to whole vectors.

    float load_row(const FeatureMap& map, const float* from, std::int64_t width, std::int64_t head,
                   std::int64_t position, float* to) const {
        float log = 0;
        if (map.together)
            map.together({.first = {map.parameters, width, dim_, head, position}, .count = 1}, from, to);
        else if (map)
            log = map.function({map.parameters, width, dim_, head, position}, from, to);
        else
            std::copy_n(from, dim_, to);
        std::fill(to + dim_, to + d_stride_, 0.f);
        return log;
    }

    /// Rows of head `head` from token `begin` on: where they lie, or in `to` if they are mapped or end in a part of a
    /// vector.
    Rows load_rows(const FeatureMap& map, const Heads<const float>& x, std::int64_t head, std::int64_t begin, float* to,
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
            if (const std::int64_t next = t + mapped_rows_ahead; next < n_)
                simd::prefetch_row<simd::Level::l1>(x.row(head, begin + next), x.dim);
            const float log = load_row(map, x.row(head, begin + t), x.dim, head, begin + t, to + t * d_stride_);
            if (logs) logs[t] = log;
        }
        return {to, d_stride_};
    }

    void load_keys() {
        const auto rows = [&](const FeatureMap& map, const Heads<const float>& x, float* to) {
            return load_rows(map, x, spread(head_, job_.state_heads, x.heads), span_.begin, to, nullptr);
        };
        k_ = rows(r_.k_map, r_.k, x_.k);
        if (r_.update != Update::low_rank) return;
        a_ = rows({}, r_.a, x_.a);
        b_ = rows({}, r_.b, x_.b);
    }

    void load_values() {
        const bool scaled = r_.update == Update::additive && r_.beta.data;
        const float* v = row(r_.v, span_.begin) + column_;
        for (std::int64_t s = 0; s < n_; ++s, v += r_.v.token_stride) {
            const float factor = scaled ? beta(span_.begin + s) : 1.f;
            for (std::int64_t p = 0; p < panels_; ++p) load_columns(v, p, factor, x_.v + (p * chunk + s) * W);
        }
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

    void load_state(std::int64_t begin, std::int64_t end) const {
        for (std::int64_t p = 0; p < panels_; ++p) {
            for (std::int64_t d = begin; d < end; ++d)
                load_columns(job_.state->of(head_) + d * job_.dim_v + column_, p, 1.f, state_panel(p) + d * W);
            std::fill(state_panel(p) + end * W, state_panel(p) + round_up(end, R) * W, 0.f);
        }
    }

    void store_state(std::int64_t begin, std::int64_t end) const {
        for (std::int64_t p = 0; p < panels_; ++p)
            for (std::int64_t d = begin; d < end; ++d)
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

    /// Keys of all sides in common panels: `group` of the first side, as many of the next.
    template <int Sides>
    void pack_panels(const Rows (&sides)[Sides], std::int64_t count, std::int64_t group) {
        const std::byte** row = x_.rows;
        for (std::int64_t s = 0; s < count; s += group)
            for (const Rows& side : sides)
                for (std::int64_t u = 0; u < group; ++u) *row++ = reinterpret_cast<const std::byte*>(side[s + u]);
        simd::pack_keys<Arch, vectors, float>(x_.rows, 0, count * Sides, dim_, x_.panels);
    }
    void pack_panels(Rows rows, std::int64_t count) { pack_panels<1>({rows}, count, count); }

    /// P[row][key] of one strip for keys below `keys`.
    void strip_products(const float* strip, std::int64_t keys, float* p, std::int64_t p_stride) const {
        for (std::int64_t key = 0; key < keys; key += W) {
            const auto multiply = [&]<int N>(std::integral_constant<int, N>) ATTENTA_FLATTEN {
                simd::RegisterTile<Arch, R, N> tile;
                tile.zero();
                tile.template add<1>(strip, lanes, x_.panels + key * dim_, W, dim_);
                tile.store(p + key, p_stride);
            };
            if (keys - key > L)
                multiply(std::integral_constant<int, vectors>{});
            else
                multiply(std::integral_constant<int, 1>{});
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

    const Job& job_;
    const Task& task_;
    const Request& r_;
    const std::int64_t first_head_, heads_, column_, columns_, panels_, dim_, d_stride_;
    Arena arena_;
    Scratch x_;
    const bool by_channel_, by_token_;
    std::int64_t head_ = 0;
    bool in_place_ = false;  ///< the state is advanced where it lies
    Span span_;
    std::int64_t n_ = 0;  ///< tokens of the chunk
    Rows k_, a_, b_;
};

}  // namespace scan

ATTENTA_END
