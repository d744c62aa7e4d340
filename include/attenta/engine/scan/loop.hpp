// The scan of one instruction set. See scan/request.hpp.
//
// A chunk of n tokens, S0 the state before it, E_t the decay from the chunk's start to t, F_s that from s to its end:
//     P_ts = Σ_d q_td k_sd · decay from s to t           tiles of queries × keys
//     o_t  = scale · [ (q_t E_t) S0 + Σ_s P_ts n_s ]     n_s: the values, or what the delta rules make of them
//     S    = E_n S0 + Σ_s (k_s F_s) n_sᵀ
// The state lives in panels [panel][channel][column] meanwhile.
//
// chunk.hpp     rows, decays and state of a chunk
// chunk_prefetch.hpp   prefetching of the next chunk
// channels.hpp  P where decays differ by channel
// steps.hpp     few tokens, one by one
// chunk_parallel.hpp    states of chunks that are worked on side by side
#pragma once

#include <attenta/engine/scan/channels.hpp>
#include <attenta/engine/scan/chunk_parallel.hpp>
#include <attenta/engine/scan/chunk_prefetch.hpp>
#include <attenta/engine/scan/steps.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

template <class A>
class ScanLoop : public ChunkParallel<TokenSteps<ChannelProducts<ChunkPrefetch<Chunk<A>>>>> {
    using Base = ChunkParallel<TokenSteps<ChannelProducts<ChunkPrefetch<Chunk<A>>>>>;
    using Base::L, Base::lanes, Base::R, Base::vectors, Base::W, Base::spread, Base::row, Base::beta, Base::group,
        Base::constant_decays, Base::token_decays, Base::channel_decays, Base::to_end, Base::whole_chunk,
        Base::load_rows, Base::load_keys, Base::load_values, Base::state_panel, Base::load_state, Base::store_state,
        Base::pack_strips, Base::strip_row, Base::pack_panels, Base::strip_products, Base::bonus_weight,
        Base::partial_dot, Base::job_, Base::task_, Base::r_, Base::first_head_, Base::heads_, Base::head_,
        Base::column_, Base::columns_, Base::panels_, Base::dim_, Base::d_stride_, Base::x_, Base::by_channel_,
        Base::by_token_, Base::in_place_, Base::span_, Base::n_, Base::k_, Base::a_, Base::b_, Base::steps;
    using typename Base::Arch, typename Base::Batch, typename Base::Span, typename Base::Rows, typename Base::Query,
        typename Base::KeySet, typename Base::Tile;

public:
    using Base::Base;

    /// The heads of a task are interleaved chunk by chunk.
    void run() {
        in_place_ = r_.k.tokens <= few_tokens && r_.q.tokens <= few_tokens && columns_ % L == 0;
        if (task_.pass == Pass::prefix_states) return this->prefix_states();
        if (by_channel_ && r_.k.tokens > few_tokens) this->clear_pairs();
        for_heads([&] { begin(); });
        for (std::int64_t i = task_.chunk_begin; i < task_.chunk_end; ++i) for_heads([&] { pass(i); });
        if (task_.pass == Pass::whole) for_heads([&] { end(); });
    }

private:
    template <class F>
    void for_heads(F&& f) {
        for (std::int64_t i = 0; i < heads_; ++i) {
            this->select_head(first_head_ + i);
            f();
        }
    }

    void begin() {
        if (!by_channel_ && !by_token_) {
            const double g = r_.g.data ? static_cast<double>(row(r_.g, 0)[0]) : 0;
            x_.step[0] = static_cast<float>(std::exp(g));
            if (r_.k.tokens > few_tokens) constant_decays(g);
        }
        if (by_token_ && r_.k.tokens > few_tokens)
            std::fill_n(x_.between, chunk * chunk, 0.f);  // stays so above the diagonal
        if (task_.pass != Pass::whole) return;
        if (!in_place_) load_state(0, dim_);
        if (!r_.normalizer) return;
        std::copy_n(job_.state->normalizer.data() + head_ * dim_, dim_, x_.z);
        std::fill(x_.z + dim_, x_.z + d_stride_, 0.f);
    }

    void end() {
        if (!in_place_) store_state(0, dim_);
        if (r_.normalizer && column_ == 0) std::copy_n(x_.z, dim_, job_.normalizers + head_ * dim_);
    }

    Span span(std::int64_t i) const {
        const std::int64_t keys = r_.k.tokens, queries = r_.q.tokens, first = r_.causal ? keys - queries : keys,
                           before = Chunks(r_).before, t = (i < before ? i : i - before) * chunk;
        if (i < before) return {t, std::min(chunk, first - t), false, true, 0};
        return {r_.causal ? first + t : 0,
                std::min(chunk, queries - t),
                task_.pass != Pass::chunk_states,
                r_.causal,
                t,
                r_.causal && task_.pass != Pass::outputs};
    }

    void pass(std::int64_t i) {
        span_ = span(i);
        n_ = span_.count;
        if (task_.pass != Pass::whole) {
            const ChunkState own = this->chunk_state(task_.pass == Pass::chunk_states ? i + 1 : i);
            x_.state = own.state;
            x_.z = own.z;
        }
        if (n_ <= few_tokens || r_.gv.data)
            steps();
        else
            chunked();
        if (task_.pass == Pass::chunk_states) std::copy_n(x_.chunk_decay, d_stride_, this->chunk_state(i + 1).decay);
    }

    void chunked() {
        this->plan_prefetch();
        if (n_ % R != 0) clear_behind();
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
        if (span_.updates) update();
    }

    /// Rows of the last register tile behind the chunk weigh nothing. What scratch holds of other calls could raise a
    /// floating-point exception in them.
    void clear_behind() const {
        const std::int64_t end = round_up(n_, R), floats = (end - n_) * chunk;
        if (by_token_) std::fill(x_.from_start + n_, x_.from_start + end, 0.f);
        std::fill_n(x_.p + n_ * chunk, floats, 0.f);
        if (r_.update != Update::additive) std::fill_n(x_.solve + n_ * chunk, floats, 0.f);
        if (r_.update != Update::low_rank) return;
        for (float* const p : {x_.p2, x_.inner}) std::fill_n(p + n_ * chunk, floats, 0.f);
        for (std::int64_t p = 0; p < panels_; ++p)
            std::fill(x_.v + (p * chunk + n_) * W, x_.v + (p * chunk + end) * W, 0.f);
    }

    /// X Kᵀ of packed rows and keys.
    void plain_products(const float* strips, float* p) const {
        for (std::int64_t i = 0; i < n_; i += R)
            strip_products(strip_row(strips, i), std::min(i + R, n_), p + i * chunk, chunk);
    }

    /// P = products ⊙ decays, zero above the diagonal, with `strict` on it too.
    void decay_products(const float* products, bool strict, float* p) const {
        for (std::int64_t t = 0; t < n_; ++t) {
            const std::int64_t seen = t + (strict ? 0 : 1);
            for (std::int64_t s = 0; s < round_up(t / R * R + R, L); s += L) {
                const Batch x =
                    simd::load<Arch>(products + t * chunk + s) * simd::load<Arch>(x_.between + t * chunk + s);
                const std::int64_t left = seen - s;
                const auto bits = left >= L ? ~0u : left <= 0 ? 0u : (1u << left) - 1u;
                simd::select<Arch>(bits, x, Batch(0.f)).store_unaligned(p + t * chunk + s);
            }
        }
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
                const KeySet sides[] = {{k_, x_.decayed_k}, {b_, x_.decayed_b}};
                const Query a{a_, true, x_.strips, {x_.inner, x_.solve}};
                read_too ? this->template channel_products<2, 2>({a, q}, sides)
                         : this->template channel_products<1, 2>({a}, sides);
            } else {
                const KeySet sides[] = {{k_, x_.decayed_k}};
                const Query k{k_, false, x_.strips, {x_.solve}};
                read_too ? this->template channel_products<2, 1>({k, q}, sides)
                         : this->template channel_products<1, 1>({k}, sides);
            }
        } else {
            pack_strips(k_, n_, x_.strips);
            pack_panels(k_, n_);
            plain_products(x_.strips, x_.solve);
            decay_products(x_.solve, true, x_.solve);
        }
        if (!low_rank)
            for (std::int64_t t = 0; t < n_; ++t) {
                const Batch factor(-beta(span_.begin + t));
                for (std::int64_t s = 0; s < t; s += L)
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
        Tile tile;
        tile.zero();
        this->add_and_prefetch(tile, strip_row(x_.strips, i), lanes, state_panel(panel), dim_);
        if (r_.update == Update::low_rank) {
            tile.template add<chunk>(x_.inner + i * chunk, 1, v, W, i);
            tile.template add_below<chunk>(x_.inner + i * chunk + i, v + i * W, W);
        } else {
            tile.store(n, W);
            for (std::int64_t t = 0; t < rows; ++t) {
                const Batch b(beta(span_.begin + i + t)), e(by_channel_ ? 1.f : x_.from_start[i + t]);
                for (std::int64_t c = 0; c < W; c += L)
                    (b * (simd::load<Arch>(v + (i + t) * W + c) - e * simd::load<Arch>(n + t * W + c)))
                        .store_unaligned(n + t * W + c);
            }
            tile.load(n, W);
        }
        tile.template add<chunk>(x_.solve + i * chunk, 1, all, W, i);
        tile.template substitute<chunk>(x_.solve + i * chunk + i);
        tile.store(n, W);
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
                this->template channel_products<1, 2>({q}, {{k_, x_.decayed_k}, {b_, x_.decayed_b}});
            else
                this->template channel_products<1, 1>({q}, {{k_, x_.decayed_k}});
            if (r_.read_before) add_bonus();
        } else {
            q_ = load_rows(r_.q_map, r_.q, head, span_.query_begin, x_.q, x_.log);
            read_plain(first && !corrected);
        }
        row_factors(out_head);
        for (std::int64_t p = 0; p < panels_; ++p)
            for (std::int64_t i = 0; i < n_; i += R) {
                const std::int64_t rows = std::min<std::int64_t>(R, n_ - i);
                if (read_rows<R>(out_head, p, i, rows, i + rows)) continue;
                // A NaN or infinity of a later row of the strip met a weight of zero, or is a row's true result: each
                // row with what it sees alone.
                for (std::int64_t t = i; t < i + rows; ++t) read_rows<1>(out_head, p, t, 1, t + 1);
            }
    }

    /// Products of queries and keys with one decay for all channels. Heads that share both share them.
    void read_plain(bool new_keys) {
        const bool in_memory = q_.first != x_.q && k_.first != x_.k;
        if (!in_memory || q_.first != read_q_ || (span_.keys && k_.first != read_k_)) {
            pack_strips(q_, n_, x_.query_strips);
            if (span_.keys && new_keys) pack_panels(k_, n_);
            if (span_.keys) plain_products(x_.query_strips, x_.products);
            read_q_ = q_.first;
            read_k_ = span_.keys ? k_.first : nullptr;
        }
        if (span_.keys) decay_products(x_.products, false, x_.p);
    }

    void row_factors(std::int64_t out_head) {
        for (std::int64_t t = 0; t < n_; ++t) {
            x_.factor[t] = r_.scale;
            if (r_.finish.factor)
                x_.factor[t] *=
                    r_.finish.factor(r_.finish.parameters, out_head, span_.query_begin + t, weight_sum(t), x_.log[t]);
        }
    }

    void add_bonus() {
        const float* const u = row(r_.u, 0);
        for (std::int64_t t = 0; t < n_; ++t) x_.p[t * chunk + t] = bonus_weight(q_[t], u, k_[t]);
    }

    /// Writes a panel's columns of rows i .. i + rows - 1, Rows at most: sums over the state and tokens below `depth`.
    /// Returns whether they are finite.
    template <int Rows>
    bool read_rows(std::int64_t out_head, std::int64_t panel, std::int64_t i, std::int64_t rows, std::int64_t depth) {
        simd::RegisterTile<Arch, Rows, vectors> tile;
        tile.zero();
        this->add_and_prefetch(tile, strip_row(x_.query_strips, i), lanes, state_panel(panel), dim_);
        if (span_.keys) {
            const float *const v = x_.v + panel * chunk * W, *const added = x_.added + panel * chunk * W;
            const bool low_rank = r_.update == Update::low_rank;
            if (!by_channel_) tile.scale(x_.from_start + i);
            tile.template add<chunk>(x_.p + i * chunk, 1, low_rank ? v : added, W, depth);
            if (low_rank) tile.template add<chunk>(x_.p2 + i * chunk, 1, added, W, depth);
        }
        const std::int64_t columns = std::min(W, columns_ - panel * W);
        const auto to = [&](std::int64_t t) {
            return job_.o.row(out_head, span_.query_begin + i + t) + column_ + panel * W;
        };
        if (rows == Rows && columns == W) return tile.finish(x_.factor + i, to);
        tile.store(x_.o, W);
        bool finite = true;
        for (std::int64_t t = 0; t < rows; ++t)
            finite = simd::finish_row<Arch>(to(t), x_.o + t * W, columns, x_.factor[i + t]) && finite;
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

    // The state behind the chunk.

    void update() {
        if (by_channel_) {
            if (!span_.queries && r_.update == Update::additive) this->decay_alone({k_, x_.decayed_k});
            if (r_.update == Update::low_rank)
                add_outer<false>({{x_.decayed_k, x_.v}, {x_.decayed_b, x_.n}});
            else
                add_outer<false>({{x_.decayed_k, x_.added}});
            return;
        }
        std::fill_n(x_.chunk_decay, d_stride_, whole_chunk());
        if (!r_.g.data && k_.first == x_.k) {  // nothing decays: keys serve as they are
            add_outer<false>({{x_.k, x_.added}});
        } else {
            for (std::int64_t s = 0; s < n_; ++s) {
                const Batch f(to_end(s));
                for (std::int64_t d = 0; d < d_stride_; d += L)
                    (simd::load<Arch>(k_[s] + d) * f).store_unaligned(x_.columns + d * n_ + s * L);
            }
            add_outer<true>({{x_.columns, x_.added}});
        }
        if (r_.normalizer) add_normalizer();
    }

    struct Outer {
        const float *rows, *values;  ///< decayed to the chunk's end; panels
    };

    /// S = decay of the chunk · S + Σ_s rows_s values_sᵀ of all products. Packed rows are [vector][row][lane].
    template <bool Packed, int Products>
    void add_outer(const Outer (&products)[Products]) {
        for (std::int64_t p = 0; p < panels_; ++p)
            for (std::int64_t d = 0; d < dim_; d += R) {
                Tile tile;
                tile.zero();
                for (const Outer& x : products)
                    this->add_and_prefetch(tile, x.rows + (Packed ? d / L * L * n_ + d % L : d), Packed ? L : d_stride_,
                                           x.values + p * chunk * W, n_);
                float* const state = state_panel(p) + d * W;
                if (task_.pass == Pass::whole) tile.add_scaled(x_.chunk_decay + d, state, W);
                tile.store(state, W);
            }
    }

    void add_normalizer() {
        for (std::int64_t d = 0; d < d_stride_; d += L) {
            Batch sum(0.f);
            for (std::int64_t s = 0; s < n_; ++s)
                sum = simd::fma<Arch>(Batch(to_end(s)), simd::load<Arch>(k_[s] + d), sum);
            if (task_.pass == Pass::whole) sum = simd::fma<Arch>(Batch(whole_chunk()), simd::load<Arch>(x_.z + d), sum);
            sum.store_unaligned(x_.z + d);
        }
    }

    Rows q_;
    const float *read_q_ = nullptr, *read_k_ = nullptr;  ///< rows whose products are at hand
};

}  // namespace scan

ATTENTA_END
