#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/dense/kernels.hpp>
#include <attenta/engine/dense/layers_kernels.hpp>
#include <attenta/engine/dense/maps.hpp>
#include <attenta/gating/channel_attention.hpp>
#include <attenta/gating/kernels.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace detail {

inline void check_channel_attention(const ChannelAttentionInputs& x, Heads<float> o,
                                    const ChannelAttentionOptions& options) {
    MapCheck check("channel_attention", InputList(x));
    const auto heads = static_cast<std::int64_t>(x.temperature.size());
    if (x.q.heads % heads != 0)
        check.refuse("q has " + checks::text(x.q.heads) + " channels, needs a multiple of the " + checks::text(heads) +
                     " heads of temperature");
    if (!x.residual.data != x.alpha.empty())
        check.refuse(x.alpha.empty() ? "alpha is null, residual needs it" : "residual is null, alpha needs it");
    if (x.residual.data && x.alpha.size() != 2)
        check.refuse("alpha has " + std::to_string(x.alpha.size()) + " numbers, needs 2");
    check.numbers(options.check_data);
    check.map("o", o, x.q);
}

/// Sums over positions: G [channels, channels] of a head, |q|² and |k|² of its channels. Positions are summed in parts, by their
/// number alone.
class ChannelGram {
public:
    ChannelGram(const ChannelAttentionInputs& x, CallArrays& arrays, Context& context)
        : q_(x.q),
          k_(x.k),
          heads_(static_cast<std::int64_t>(x.temperature.size())),
          channels_(x.q.heads / heads_),
          runs_(dense::runs_of(x.q, x.k)),
          pieces_of_run_(ceil_div(runs_.length, most_positions)),
          parts_(std::min(most_parts, ceil_div(runs_.count * pieces_of_run_, pieces_of_part))),
          sums_(arrays.take(parts_ * heads_ * size())) {
        Arena arena(nullptr);
        dense::ProductScratch{arena};
        const std::int64_t bytes = round_up(arena.used(), 64);
        std::byte* const memory =
            context.workspace().reserve(static_cast<std::size_t>(context.executor().concurrency() * bytes));
        run_tasks(context.executor(), heads_ * parts_,
                  [&](std::int64_t i, int slot) { sum_part(i / parts_, i % parts_, memory + slot * bytes); });
        context.executor().parallel_for(heads_, [&](std::int64_t h, int) {
            for (std::int64_t part = 1; part < parts_; ++part) gating::add_numbers()(sums(h, part), size(), sums(h, 0));
        });
    }

    std::int64_t channels() const { return channels_; }
    float* row(std::int64_t head, std::int64_t channel) const { return sums(head, 0) + channel * channels_; }
    float* q_squares(std::int64_t head) const { return row(head, channels_); }
    float* k_squares(std::int64_t head) const { return row(head, channels_ + 1); }
    /// [G, channels, channels]
    Matrices<float> matrices() const { return {sums(0, 0), heads_, channels_, channels_, channels_, parts_ * size()}; }

private:
    static constexpr std::int64_t most_positions = 1024, pieces_of_part = 4, most_parts = 64;

    std::int64_t size() const { return channels_ * (channels_ + 2); }
    float* sums(std::int64_t head, std::int64_t part) const { return sums_ + (head * parts_ + part) * size(); }

    void sum_part(std::int64_t head, std::int64_t part, std::byte* scratch) const {
        const std::int64_t pieces = runs_.count * pieces_of_run_, begin = part * pieces / parts_,
                           end = (part + 1) * pieces / parts_;
        float* const to = sums(head, part);
        std::fill_n(to, size(), 0.f);
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t run = i / pieces_of_run_, first = i % pieces_of_run_ * most_positions,
                               n = std::min(most_positions, runs_.length - first), channel = head * channels_;
            add_piece(q_.row(channel, run) + first, k_.row(channel, run) + first, n, to, scratch);
        }
    }

    void add_piece(const float* q, const float* k, std::int64_t n, float* to, std::byte* scratch) const {
        using dense::Product;
        for (std::int64_t i = 0; i < channels_; i += Product::most_rows)
            for (std::int64_t j = 0; j < channels_; j += Product::most_columns) {
                Product p{.a = q + i * q_.head_stride, .b = k + j * k_.head_stride, .c = to + i * channels_ + j};
                p.m = std::min(Product::most_rows, channels_ - i), p.n = std::min(Product::most_columns, channels_ - j);
                p.k = n;
                p.a_stride = q_.head_stride, p.b_stride = k_.head_stride, p.c_stride = channels_;
                p.b_transposed = p.add = true;
                dense::dense_product()(p, scratch);
            }
        float *const of_q = to + channels_ * channels_, *const of_k = of_q + channels_;
        for (std::int64_t c = 0; c < channels_; ++c) {
            of_q[c] += gating::squared_sum()(q + c * q_.head_stride, n);
            of_k[c] += gating::squared_sum()(k + c * k_.head_stride, n);
        }
    }

    const Heads<const float>&q_, &k_;
    const std::int64_t heads_, channels_;
    const dense::MapRuns runs_;
    const std::int64_t pieces_of_run_, parts_;
    float* const sums_;  ///< [G, parts, channels + 2, channels]
};

/// 1 / max(norm, 1e-12)
inline float inverse_norm(float squares) { return 1.f / std::max(std::sqrt(squares), 1e-12f); }

/// The rows of G become those of A.
inline void channel_weights(const ChannelGram& gram, std::span<const float> temperature, Context& context) {
    const std::int64_t n = gram.channels(), heads = static_cast<std::int64_t>(temperature.size());
    context.executor().parallel_for(heads, [&](std::int64_t h, int) {
        std::transform(gram.k_squares(h), gram.k_squares(h) + n, gram.k_squares(h), inverse_norm);
        for (std::int64_t c = 0; c < n; ++c)
            dense::softmax_row()(gram.row(h, c), n,
                                 temperature[static_cast<std::size_t>(h)] * inverse_norm(gram.q_squares(h)[c]),
                                 gram.k_squares(h));
    });
}

/// o_h = A_h x_h, added to what o holds if that is wanted.
inline void mix_channels(Matrices<const float> a, Heads<const float> x, bool add, Heads<float> o, Context& context) {
    const dense::MapRuns runs = dense::runs_of(x, o);
    for (std::int64_t r = 0; r < runs.count; ++r)
        dense::multiply(a, {x.row(0, r), a.heads, a.rows, runs.length, x.head_stride, a.rows * x.head_stride},
                        {o.row(0, r), a.heads, a.rows, runs.length, o.head_stride, a.rows * o.head_stride},
                        {.add = add}, context);
}

/// A (v + alpha_0 ρ) + alpha_1 (ρ − v) = (A − alpha_1 I) v + (alpha_0 A + alpha_1 I) ρ: the second matrix; A becomes the first.
inline Matrices<const float> guided(Matrices<float> a, std::span<const float> alpha, CallArrays& arrays) {
    const Matrices<float> of_residual{arrays.take(a.heads * a.rows * a.cols), a.heads, a.rows, a.cols};
    for (std::int64_t h = 0; h < a.heads; ++h)
        for (std::int64_t c = 0; c < a.rows; ++c) {
            float *const from = a.row(h, c), *const to = of_residual.row(h, c);
            gating::gate_row()(from, nullptr, 1, alpha[0], a.cols, to);
            to[c] += alpha[1];
            from[c] -= alpha[1];
        }
    return dense::read(of_residual);
}

}  // namespace detail

ATTENTA_INLINE void channel_attention(const ChannelAttentionInputs& x, Heads<float> o,
                                      const ChannelAttentionOptions& options, Context& context) {
    detail::check_channel_attention(x, o, options);
    detail::CallArrays arrays(context);
    const detail::ChannelGram gram(x, arrays, context);
    detail::channel_weights(gram, x.temperature, context);
    const Matrices<float> a = gram.matrices();
    if (!x.residual.data) return detail::mix_channels(dense::read(a), x.v, false, o, context);
    const Matrices<const float> of_residual = detail::guided(a, x.alpha, arrays);
    detail::mix_channels(dense::read(a), x.v, false, o, context);
    detail::mix_channels(of_residual, x.residual, true, o, context);
}

ATTENTA_END
