#pragma once

#include <attenta/engine/dense/dense.hpp>
#include <attenta/lowrank/kernels.hpp>
#include <attenta/lowrank/soft.hpp>
#include <attenta/softmax/softmax.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

ATTENTA_BEGIN

namespace detail {

inline void check_soft(const SoftInputs& x, Heads<float> o, const SoftOptions& options) {
    LowRankCheck check("soft", InputList(x));
    check.at_least("iterations", options.iterations, 0);
    for (const auto& [name, number] :
         {std::pair{"scale", options.scale}, {"ridge", options.ridge}, {"init_factor", options.init_factor}}) {
        check.finite(name, number);
        if (number && *number < 0)
            check.refuse(std::string(name) + " is " + std::to_string(*number) + ", needs at least 0");
    }
    if (const Heads<const float>& w = x.conv_weight; w.data) {
        if (w.tokens != w.dim || w.dim % 2 == 0)
            check.refuse("conv_weight has " + checks::text(w.tokens) + " rows of " + checks::text(w.dim) +
                         " taps, needs as many, and an odd number");
        check.at_least("grid_height", options.grid_height, 1);
        check.at_least("grid_width", options.grid_width, 1);
        if (saturating::multiply(options.grid_height, options.grid_width) != x.q.tokens)
            check.refuse("the grid is " + checks::text(options.grid_height) + " x " + checks::text(options.grid_width) +
                         ", needs the " + checks::text(x.q.tokens) + " tokens of q");
    }
    check.numbers(options.check_data);
    if (x.landmarks.data) {
        check.scratch("a matrix of landmarks", x.q.heads, x.landmarks.tokens, x.landmarks.tokens);
        check.scratch("values of landmarks", x.q.heads, x.landmarks.tokens, x.v.dim);
    }
    check.output("o", o, x.q.heads, x.q.tokens, x.v.dim);
}

/// o += the convolution of v on the grid: a run of neighbours in each row of the kernel.
inline void add_convolution(Heads<const float> v, Heads<const float> weight, std::int64_t height, std::int64_t width,
                            Heads<float> o, Context& context) {
    const std::int64_t half = weight.dim / 2;
    for_rows(context, o.heads, height, 1, [&](std::int64_t h, std::int64_t row, std::int64_t) {
        for (std::int64_t column = 0; column < width; ++column) {
            const std::int64_t first = std::max<std::int64_t>(0, column - half),
                               last = std::min(width, column + half + 1);
            for (std::int64_t r = std::max<std::int64_t>(0, row - half); r < std::min(height, row + half + 1); ++r)
                lowrank::weighted_sum()({v.row(h, r * width + first), v.token_stride, last - first, v.dim},
                                        weight.row(h, r - row + half) + first - (column - half), 1, true,
                                        o.row(h, row * width + column));
        }
    });
}

/// Points and scale |x|² / 2 of each.
struct SoftPoints {
    Heads<const float> x;
    const float* norms = nullptr;  ///< [H, T], and room for a vector
};

inline SoftPoints soft_points(Heads<const float> x, float scale, CallArrays& arrays, Context& context) {
    float* const norms = arrays.take(x.heads * x.tokens + lowrank::gaussian_room);
    for_rows(context, x.heads, x.tokens, 256, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
        lowrank::squared_norms()({x.row(h, begin), x.token_stride, end - begin, x.dim}, scale / 2,
                                 norms + h * x.tokens + begin);
    });
    return {x, norms};
}

/// o_i = Σ_j κ(a_i, b_j) v_j
inline void gaussian_attention(const SoftPoints& a, const SoftPoints& b, Heads<const float> v, float scale,
                               Heads<float> o, CallArrays& arrays, Context& context) {
    float* const lse = arrays.take(a.x.heads * a.x.tokens);
    SoftmaxOptions options;
    options.scale = scale;
    options.edits = {lowrank::edit(lowrank::Gaussian{a.norms, b.norms, a.x.tokens, b.x.tokens})};
    softmax_attention(a.x, b.x, v, o, options, lse, context);
    for_rows(context, o.heads, o.tokens, 256, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
        lowrank::scale_by_exp()(o.row(h, begin), o.token_stride, end - begin, o.dim, lse + h * o.tokens + begin);
    });
}

/// X of the landmarks' kernel matrix.
class SoftInverse {
public:
    SoftInverse(Heads<const float> l, float scale, const SoftOptions& options, CallArrays& arrays, Context& context)
        : normalize_(options.normalize),
          heads_(l.heads),
          m_(l.tokens),
          context_(context),
          p_(square(arrays)),
          x_(square(arrays)),
          w_(square(arrays)),
          next_(square(arrays)),
          sums_(arrays.take(heads_ * m_)),
          numbers_(arrays.take(2 * heads_ * m_)) {
        const float ridge = options.ridge.value_or(normalize_ ? 0.f : 0.01f),
                    init = options.init_factor.value_or(normalize_ ? 2.f : 1.8f);
        for_rows(context, heads_, m_, 16, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i)
                sums_[h * m_ + i] = lowrank::gaussian_row()(l.row(h, i), {l.row(h, 0), l.token_stride, m_, l.dim},
                                                            scale / 2, p_.row(h, i));
        });
        context.executor().parallel_for(heads_, [&](std::int64_t h, int) { start(h, ridge, init); });
        for (std::int64_t i = 0; i < options.iterations; ++i) step();
    }

    /// A⁺ y [H, m, n], dense; y is overwritten.
    Heads<const float> times(Heads<float> y, CallArrays& arrays) const {
        const Heads<float> z = arrays.heads(y.heads, y.tokens, y.dim);
        if (normalize_) scale_rows(y);
        dense::multiply(read(x_), dense::matrices_of<const float>(y), dense::matrices_of(z), {}, context_);
        if (normalize_) scale_rows(z);
        return z;
    }

private:
    Matrices<float> square(CallArrays& arrays) const { return {arrays.take(heads_ * m_ * m_), heads_, m_, m_}; }

    /// P and X_0 of a head.
    void start(std::int64_t h, float ridge, float init) {
        const float largest = *std::max_element(sums_ + h * m_, sums_ + (h + 1) * m_);
        for (std::int64_t i = 0; i < m_; ++i) p_.row(h, i)[i] += ridge;
        float alpha = init / (largest * largest);
        if (normalize_) alpha = halved(h, ridge, alpha);
        lowrank::weighted_sum()({p_.row(h, 0), 0, 1, m_ * m_}, nullptr, alpha, false, x_.row(h, 0));
    }

    /// `alpha`, halved until ‖I − alpha P²‖₁ <= 1.01. P² has no number below 0, so that the sum of a column off the diagonal is
    /// its whole sum, (P P 1)_i, without the diagonal, |P_i|².
    float halved(std::int64_t h, float ridge, float alpha) {
        float *const sums = numbers_ + 2 * h * m_, *const of_square = sums + m_;
        for (std::int64_t i = 0; i < m_; ++i) sums[i] = sums_[h * m_ + i] + ridge;
        const lowrank::Rows rows{p_.row(h, 0), m_, m_, m_};
        lowrank::row_products()(sums, rows, of_square);
        lowrank::squared_norms()(rows, 1, sums);
        for (int i = 0; i < 10; ++i, alpha /= 2) {
            double norm = 0;
            for (std::int64_t c = 0; c < m_; ++c) {
                const double diagonal = double{alpha} * double{sums[c]}, sum = double{alpha} * double{of_square[c]};
                norm = std::max(norm, sum - diagonal + std::abs(1 - diagonal));
            }
            if (norm <= 1.01) break;
        }
        return alpha;
    }

    /// X <- 2 X − X P X
    void step() {
        dense::multiply(read(p_), read(x_), w_, {}, context_);
        scale_numbers(x_.data, 2, next_.data, heads_ * m_ * m_, context_);
        dense::multiply(read(x_), read(w_), next_, {.alpha = -1, .add = true}, context_);
        std::swap(x_, next_);
    }

    /// Rows of y times (A 1)^(−1/2).
    void scale_rows(Heads<float> y) const {
        for_rows(context_, heads_, m_, 64, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i)
                lowrank::weighted_sum()({y.row(h, i), 0, 1, y.dim}, nullptr, 1.f / std::sqrt(sums_[h * m_ + i]), false,
                                        y.row(h, i));
        });
    }

    bool normalize_;
    std::int64_t heads_, m_;
    Context& context_;
    Matrices<float> p_, x_, w_, next_;
    float* sums_;     ///< [H, m] of the rows of A
    float* numbers_;  ///< [H, 2, m] for a test
};

}  // namespace detail

ATTENTA_INLINE void soft(const SoftInputs& x, Heads<float> o, const SoftOptions& options, Context& context) {
    detail::check_soft(x, o, options);
    const float scale = options.scale.value_or(1.f / std::sqrt(static_cast<float>(x.q.dim)));
    detail::CallArrays arrays(context);
    const detail::SoftPoints q = detail::soft_points(x.q, scale, arrays, context);
    if (x.landmarks.data) {
        const detail::SoftPoints l = detail::soft_points(x.landmarks, scale, arrays, context);
        const detail::SoftInverse inverse(x.landmarks, scale, options, arrays, context);
        const Heads<float> of_landmarks = arrays.heads(x.q.heads, x.landmarks.tokens, x.v.dim);
        detail::gaussian_attention(l, q, x.v, scale, of_landmarks, arrays, context);
        detail::gaussian_attention(q, l, inverse.times(of_landmarks, arrays), scale, o, arrays, context);
    } else {
        detail::gaussian_attention(q, q, x.v, scale, o, arrays, context);
    }
    if (x.conv_weight.data)
        detail::add_convolution(x.v, x.conv_weight, options.grid_height, options.grid_width, o, context);
}

ATTENTA_END
