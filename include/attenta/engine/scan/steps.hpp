// Chunks of few tokens, token by token. See loop.hpp.
#pragma once

#include <attenta/engine/scan/chunk.hpp>
#include <attenta/simd/prefetch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

template <class Base>
class TokenSteps : public Base {
protected:
    using Base::Base;
    using Base::L, Base::vectors, Base::W, Base::spread, Base::row, Base::beta, Base::group, Base::map_exp,
        Base::load_row, Base::load_up_to, Base::state_panel, Base::bonus_weight, Base::dot, Base::job_, Base::r_,
        Base::head_, Base::column_, Base::columns_, Base::panels_, Base::dim_, Base::d_stride_, Base::x_,
        Base::by_channel_, Base::by_token_, Base::in_place_, Base::span_, Base::n_;
    using typename Base::Arch, typename Base::Batch;

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
        constexpr int wide = step_vectors(L);
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
        if (r_.update != Update::additive)
            state_dot<N>(x_.a, state, stride, y,
                         [this, state, stride, plan = plan_state_prefetch()](auto d)
                             ATTENTA_FLATTEN { this->template prefetch<N, 2>(plan, state, stride, 0, d); });
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

    /// y += Sᵀ a; prefetch(d) comes before row d.
    template <int N, class Prefetch>
    void state_dot(const float* a, const float* state, std::int64_t stride, Batch (&y)[N], Prefetch&& prefetch) const {
        for (std::int64_t d = 0; d < dim_; ++d, state += stride) {
            prefetch(d);
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                y[n] = simd::fma<Arch>(Batch(a[d]), simd::load<Arch>(state + n * L), y[n]);
            });
        }
    }

    /// What is prefetched of states that are worked on where they lie.
    struct StatePrefetch {
        bool next;              ///< the next head's state: memory would idle meanwhile
        std::int64_t own_rows;  ///< or rows of this one and on, up to that one, shortly before their use
    };
    StatePrefetch plan_state_prefetch() const {
        const bool next = in_place_ && head_ + 1 < job_.state_heads;
        if (!job_.prefetch_to_l1) return {next, 0};
        return {false, !in_place_ ? 0 : next ? dim_ : dim_ - state_rows_ahead};
    }

    /// N vectors per row, shared by `Passes` passes over the rows.
    template <int N, int Passes>
    ATTENTA_ALWAYS_INLINE void prefetch(StatePrefetch plan, const float* state, std::int64_t stride, int pass,
                                        std::int64_t d) const {
        if (plan.next) {
            constexpr std::int64_t part = N * L / Passes;
            const std::int64_t i = pass * dim_ + d;
            simd::prefetch<part>(state + (dim_ + simd::in_streams(i / Passes, dim_, state_streams)) * stride +
                                 i % Passes * part);
        }
        if (pass == 0 && d < plan.own_rows)
            simd::prefetch<N * L, simd::Level::l1>(state + (d + state_rows_ahead) * stride);
    }

    /// S = e S + k vᵀ (+ b yᵀ), and o += Sᵀ q of the first query head, of the old state with `Before`.
    template <int N, bool LowRank, bool Before>
    ATTENTA_ALWAYS_INLINE void advance(float* state, std::int64_t stride, const Batch (&v)[N], const Batch (&y)[N],
                                       Batch (&o)[N]) const {
        const bool halves = r_.update != Update::additive;
        const StatePrefetch plan = plan_state_prefetch();
        const float* const first = state;
        for (std::int64_t d = 0; d < dim_; ++d, state += stride) {
            const Batch k(x_.k[d]), e(x_.e[d]), q(x_.step_q[d]), b(LowRank ? x_.b[d] : 0.f);
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                const Batch old = simd::load<Arch>(state + n * L);
                Batch now = simd::fma<Arch>(e, old, k * v[n]);
                if constexpr (LowRank) now = simd::fma<Arch>(b, y[n], now);
                now.store_unaligned(state + n * L);
                o[n] = simd::fma<Arch>(q, Before ? old : now, o[n]);
            });
            // Behind the row's work: in front of it, g++ 12 spills the outputs of low-rank updates.
            if (halves)
                prefetch<N, 2>(plan, first, stride, 1, d);
            else
                prefetch<N, 1>(plan, first, stride, 0, d);
        }
    }

    /// Outputs of heads begin .. end - 1 of the group; with `bonus`, its share of the token's values.
    template <int N>
    void read_heads(std::int64_t begin, std::int64_t end, const float* state, std::int64_t stride, std::int64_t c,
                    const Batch* bonus) const {
        for (std::int64_t i = begin; i < end; ++i) {
            Batch o[N];
            simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { o[n] = Batch(0.f); });
            state_dot<N>(x_.step_q + i * d_stride_, state, stride, o, [](auto) {});
            write_head<N>(i, c, o, bonus);
        }
    }

    template <int N>
    void write_head(std::int64_t i, std::int64_t c, Batch (&o)[N], const Batch* bonus) const {
        const Batch weight(bonus ? bonus_weight(x_.step_q + i * d_stride_, row(r_.u, 0), x_.k) : 0.f);
        simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
            if (bonus) o[n] = simd::fma<Arch>(weight, bonus[n], o[n]);
            o[n].store_unaligned(x_.step_o + i * x_.width + c + n * L);
        });
    }

    void finish_step(std::int64_t t, std::int64_t i) const {
        const std::int64_t head = head_ * group() + i, token = span_.query_begin + t;
        float factor = r_.scale;
        if (r_.finish.factor)
            factor *= r_.finish.factor(r_.finish.parameters, head, token,
                                       r_.normalizer ? dot(x_.step_q + i * d_stride_, x_.z) : 0.f, x_.log[i]);
        simd::finish_row<Arch>(job_.o.row(head, token) + column_, x_.step_o + i * x_.width, columns_, factor);
    }
};

}  // namespace scan

ATTENTA_END
