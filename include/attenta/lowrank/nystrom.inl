#pragma once

#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/scan/features.hpp>
#include <attenta/lowrank/kernels.hpp>
#include <attenta/lowrank/nystrom.hpp>
#include <attenta/softmax/softmax.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

ATTENTA_BEGIN

namespace detail {

inline void check_nystrom(const NystromInputs& x, Heads<float> o, const NystromOptions& options) {
    LowRankCheck check("nystrom", InputList(x));
    check.groups(x.q, x.k.heads);
    check.at_least("landmarks", options.landmarks, 1);
    if (const std::int64_t most = std::min(x.q.tokens, x.k.tokens); options.landmarks > most)
        check.refuse("landmarks is " + checks::text(options.landmarks) + ", needs at most the " + checks::text(most) +
                     " tokens");
    check.at_least("iterations", options.iterations, 0);
    check.finite("scale", options.scale);
    if (x.conv_weight.data && x.conv_weight.dim % 2 == 0)
        check.refuse("conv_weight has " + checks::text(x.conv_weight.dim) + " taps, needs an odd number");
    if (x.conv_weight.data && x.q.tokens != x.k.tokens)
        check.refuse("q has " + checks::text(x.q.tokens) + " tokens, conv_weight needs the " +
                     checks::text(x.k.tokens) + " of k");
    check.numbers(options.check_data);
    check.scratch("a matrix of landmarks", x.q.heads, options.landmarks, options.landmarks);
    check.scratch("the landmarks", x.q.heads, options.landmarks, std::max(x.q.dim, x.v.dim));
    check.output("o", o, x.q.heads, x.q.tokens, x.v.dim);
}

/// Segment i of T tokens in m, of which the last ones are longer by one token.
inline std::pair<std::int64_t, std::int64_t> segment(std::int64_t i, std::int64_t tokens, std::int64_t m) {
    const std::int64_t size = tokens / m, longer = std::max<std::int64_t>(0, i - (m - tokens % m));
    return {i * size + longer, size + (i >= m - tokens % m ? 1 : 0)};
}

/// Means of m segments, to [to.heads, m, D], where `to` has heads for the groups of x: they share a head's means.
inline void segment_means(Heads<const float> x, Heads<float> to, Context& context) {
    constexpr std::int64_t of_task = 8;
    for_rows(context, to.heads, to.tokens, of_task, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            const auto [first, count] = segment(i, x.tokens, to.tokens);
            const float* const rows = x.row(h / (to.heads / x.heads), first);
            lowrank::weighted_sum()({rows, x.token_stride, count, x.dim}, nullptr, 1.f / static_cast<float>(count),
                                    false, to.row(h, i));
        }
    });
}

/// o_i += Σ_c weight[h, c] v[i + c − K // 2]
inline void add_convolution(Heads<const float> v, Heads<const float> weight, Heads<float> o, Context& context) {
    constexpr std::int64_t of_task = 64;
    const std::int64_t half = weight.dim / 2, group = o.heads / v.heads;
    for_rows(context, o.heads, o.tokens, of_task, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t first = std::max<std::int64_t>(0, i - half), last = std::min(v.tokens, i + half + 1);
            lowrank::weighted_sum()({v.row(h / group, first), v.token_stride, last - first, v.dim},
                                    weight.row(h, 0) + first - (i - half), 1, true, o.row(h, i));
        }
    });
}

/// The steps of Z on A [heads, m, m].
class NystromSteps {
public:
    NystromSteps(Heads<const float> l_q, Heads<const float> l_k, float scale, NystromInit init, CallArrays& arrays,
                 Context& context)
        : heads_(l_q.heads), m_(l_q.tokens), arrays_(arrays), context_(context), a_(square()), z_(square()) {
        dense::multiply(dense::matrices_of(l_q), dense::matrices_of(l_k), a_, {.b_transposed = true, .alpha = scale},
                        context);
        for_rows(context, heads_, m_, 16, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i)
                features::softmax_features()({nullptr, m_, m_}, a_.row(h, i), a_.row(h, i));
        });
        start(init);
    }

    /// y = Z x after `iterations` steps; x and y [heads, m, n], dense. The last step is applied to x.
    void apply(std::int64_t iterations, Heads<const float> x, Heads<float> y) {
        for (std::int64_t i = 1; i < iterations; ++i) step();
        if (iterations == 0) return times_z(x, 1, y);
        const auto array = [&] { return arrays_.heads(x.heads, x.tokens, x.dim); };
        const Heads<float> z_u = array(), first = array(), second = array(), third = array();
        Heads<const float> u = x;
        for (const auto& [c, next] : {std::pair{7.f, first}, {15.f, second}, {13.f, third}}) {
            times_z(u, 1, z_u);
            scale_numbers(x.data, c, next.data, x.heads * x.head_stride, context_);
            dense::multiply(read(a_), dense::matrices_of<const float>(z_u), dense::matrices_of(next),
                            {.alpha = -1, .add = true}, context_);
            u = next;
        }
        times_z(u, 0.25f, y);
    }

private:
    Matrices<float> square() { return {arrays_.take(heads_ * m_ * m_), heads_, m_, m_}; }

    /// Z_0 = Aᵀ / largest column sum. It is kept as it stands in A and read as a transposed matrix. The largest row sum, by which
    /// the paper divides too, is 1.
    void start(NystromInit init) {
        float* const largest = arrays_.take(heads_);
        float* const sums = arrays_.take(heads_ * m_);
        context_.executor().parallel_for(heads_, [&](std::int64_t h, int) {
            float* const of_head = sums + h * m_;
            lowrank::weighted_sum()({a_.row(h, 0), m_, m_, m_}, nullptr, 1, false, of_head);
            largest[h] = *std::max_element(of_head, of_head + m_);
        });
        if (init == NystromInit::global) std::fill_n(largest, heads_, *std::max_element(largest, largest + heads_));
        for_rows(context_, heads_, m_, 64, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
            lowrank::weighted_sum()({a_.row(h, begin), 0, 1, (end - begin) * m_}, nullptr, 1.f / largest[h], false,
                                    z_.row(h, begin));
        });
    }

    void times_z(Heads<const float> x, float alpha, Heads<float> y) {
        dense::multiply(read(z_), dense::matrices_of(x), dense::matrices_of(y),
                        {.a_transposed = z_transposed_, .alpha = alpha}, context_);
    }

    /// x += c I
    void add_to_diagonal(const Matrices<float>& x, float c) const {
        for (std::int64_t h = 0; h < heads_; ++h)
            for (std::int64_t i = 0; i < m_; ++i) x.row(h, i)[i] += c;
    }

    /// With n = −A Z: w = 13 I + n (15 I + n (7 I + n)), Z <- 1/4 Z w.
    void step() {
        if (!n_) n_ = square(), w_ = square(), w_before_ = square();
        const auto times = [this](const Matrices<float>& a, const Matrices<float>& b, const Matrices<float>& c,
                                  const dense::ProductOptions& options) {
            dense::multiply(read(a), read(b), c, options, context_);
        };
        times(a_, z_, n_, {.b_transposed = z_transposed_, .alpha = -1});
        std::copy_n(n_.data, heads_ * m_ * m_, w_before_.data);
        add_to_diagonal(w_before_, 7);
        times(n_, w_before_, w_, {});
        add_to_diagonal(w_, 15);
        times(n_, w_, w_before_, {});
        add_to_diagonal(w_before_, 13);
        times(z_, w_before_, n_, {.a_transposed = z_transposed_, .alpha = 0.25f});
        std::swap(z_, n_);
        z_transposed_ = false;
    }

    std::int64_t heads_, m_;
    CallArrays& arrays_;
    Context& context_;
    Matrices<float> a_, z_, n_, w_, w_before_;
    bool z_transposed_ = true;
};

}  // namespace detail

ATTENTA_INLINE void nystrom(const NystromInputs& x, Heads<float> o, const NystromOptions& options, Context& context) {
    detail::check_nystrom(x, o, options);
    const std::int64_t m = options.landmarks, heads = x.q.heads;
    SoftmaxOptions softmax;
    softmax.scale = options.scale.value_or(1.f / std::sqrt(static_cast<float>(x.q.dim)));
    if (m == x.q.tokens && m == x.k.tokens) {
        softmax_attention(x.q, x.k, x.v, o, softmax, nullptr, context);
    } else {
        detail::CallArrays arrays(context);
        // Keys of a head's landmarks meet values of the query head's own: each query head has a copy.
        const Heads<float> l_q = arrays.heads(heads, m, x.q.dim), l_k = arrays.heads(heads, m, x.q.dim);
        detail::segment_means(x.q, l_q, context);
        detail::segment_means(x.k, l_k, context);
        const Heads<float> b_v = arrays.heads(heads, m, x.v.dim), z_b_v = arrays.heads(heads, m, x.v.dim);
        softmax_attention(l_q, x.k, x.v, b_v, softmax, nullptr, context);
        detail::NystromSteps(l_q, l_k, *softmax.scale, options.init, arrays, context)
            .apply(options.iterations, b_v, z_b_v);
        softmax_attention(x.q, l_k, z_b_v, o, softmax, nullptr, context);
    }
    if (x.conv_weight.data) detail::add_convolution(x.v, x.conv_weight, o, context);
}

ATTENTA_END
