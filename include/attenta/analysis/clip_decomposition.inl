#pragma once

#include <attenta/analysis/clip_decomposition.hpp>
#include <attenta/analysis/kernels.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/engine/dense/dense.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_clip_decomposition(const Check& check, const ClipDecompositionInputs& x,
                                     const ClipDecompositionOptions& options) {
    if (x.mlp.size(0) != x.attn.size(0) + 1)
        check.refuse("mlp has " + checks::text(x.mlp.size(0)) + " rows, needs " + checks::text(x.attn.size(0) + 1) +
                     ", one more than the layers of attn");
    check.finite("eps", options.eps);
    if (options.eps < 0) check.refuse("eps is " + std::to_string(options.eps) + ", needs 0 or more");
    check.finite_numbers("attn", x.attn);
    check.finite_numbers("v", x.v);
    check.finite_numbers("w_o", x.w_o);
    check.finite_numbers("b_o", x.b_o);
    check.finite_numbers("mlp", x.mlp);
    check.finite_numbers("norm_w", x.norm_w.data(), std::ssize(x.norm_w));
    check.finite_numbers("norm_b", x.norm_b.data(), std::ssize(x.norm_b));
    check.finite_numbers("projection", x.projection);
    check.scratch("the maps of a layer", x.w_o.count(1, 3), x.projection.size(1), 1);
}

/// The class token before the last norm.
inline std::vector<double> class_token(const ClipDecompositionInputs& x, Context& context) {
    const std::int64_t layers = x.attn.size(0), heads = x.attn.size(1), tokens = x.attn.size(2), dim_v = x.v.size(3),
                       dim = x.b_o.size(1);
    std::vector<float> weighed(static_cast<std::size_t>(layers * heads * dim_v)),
        written(static_cast<std::size_t>(layers * dim));
    dense::multiply({x.attn.data, layers * heads, 1, tokens}, x.v.matrices(),
                    {weighed.data(), layers * heads, 1, dim_v}, {}, context);
    dense::multiply({weighed.data(), layers, 1, heads * dim_v}, {x.w_o.data, layers, heads * dim_v, dim},
                    {written.data(), layers, 1, dim}, {}, context);
    std::vector<double> z(static_cast<std::size_t>(dim));
    const auto add = [&](const float* rows, std::int64_t count) {
        for (std::int64_t i = 0; i < count * dim; ++i) z[static_cast<std::size_t>(i % dim)] += double{rows[i]};
    };
    add(written.data(), layers);
    add(x.b_o.data, layers);
    add(x.mlp.data, layers + 1);
    return z;
}

/// The last norm and the projection, as what they do to a term of the class token: term ↦ (term − share μ) P' + share b', where P' and b'
/// hold the norm, the projection and the length.
class LastMap {
public:
    LastMap(const Check& check, const ClipDecompositionInputs& x, double eps, Context& context)
        : x_(x), context_(context), dim_(x.projection.size(0)), width_(x.projection.size(1)) {
        const std::vector<double> z = class_token(x, context);
        const auto channels = static_cast<double>(dim_);
        double variance = 0;
        for (const double a : z) mean_ += a / channels;
        for (const double a : z) variance += (a - mean_) * (a - mean_) / channels;
        deviation_ = std::sqrt(variance + eps);
        if (!is_finite(static_cast<float>(deviation_)))
            check.refuse("v, w_o, b_o and mlp add up to a class token that is not finite, needs smaller numbers");
        if (!(deviation_ > 0)) check.refuse("eps is 0 and the class token has no variance, needs eps above 0");
        std::vector<float> normed(z.size());
        for (std::size_t c = 0; c < z.size(); ++c)
            normed[c] = static_cast<float>(double{x.norm_w[c]} * (z[c] - mean_) / deviation_ + double{x.norm_b[c]});
        whole_.resize(static_cast<std::size_t>(width_));
        project(normed.data(), x.projection.data, whole_.data());
        for (const float a : whole_) length_ += double{a} * double{a};
        length_ = std::sqrt(length_);
        if (!(length_ > 0 && is_finite(static_cast<float>(length_))))
            check.refuse("projection leaves a representation of length " + std::to_string(length_) +
                         ", needs a finite number above 0");
    }

    double length() const { return length_; }
    void give_representation(float* to) const {
        std::transform(whole_.begin(), whole_.end(), to,
                       [this](float a) { return static_cast<float>(double{a} / length_); });
    }
    /// P' and b'.
    void fold() {
        map_.resize(static_cast<std::size_t>(dim_ * width_));
        for (std::int64_t c = 0; c < dim_; ++c)
            scale_weights()(x_.projection.data + c * width_, width_,
                            static_cast<float>(double{x_.norm_w[static_cast<std::size_t>(c)]} / (deviation_ * length_)),
                            map_.data() + c * width_);
        bias_.resize(static_cast<std::size_t>(width_));
        project(x_.norm_b.data(), x_.projection.data, bias_.data());
        for (float& b : bias_) b = static_cast<float>(double{b} / length_);
    }
    /// What the terms factor · rows [count, d] give, [count, e].
    void give_terms(const float* rows, std::int64_t count, double factor, double share, float* to) const {
        std::vector<float> terms(static_cast<std::size_t>(count * dim_));
        std::transform(rows, rows + count * dim_, terms.begin(),
                       [&](float a) { return static_cast<float>(factor * double{a} - share * mean_); });
        for (std::int64_t i = 0; i < count * width_; ++i)
            to[i] = static_cast<float>(share * double{bias_[static_cast<std::size_t>(i % width_)]});
        dense::multiply({terms.data(), 1, count, dim_}, {map_.data(), 1, dim_, width_}, {to, 1, count, width_},
                        {.add = true}, context_);
    }
    /// to [rows, e] = W P' of the rows of all heads' W_O, which have no share of mean and bias.
    void fold_into(const float* w_o, std::int64_t rows, float* to) const {
        dense::multiply({w_o, 1, rows, dim_}, {map_.data(), 1, dim_, width_}, {to, 1, rows, width_}, {}, context_);
    }

private:
    void project(const float* row, const float* projection, float* to) const {
        dense::multiply({row, 1, 1, dim_}, {projection, 1, dim_, width_}, {to, 1, 1, width_}, {}, context_);
    }

    const ClipDecompositionInputs& x_;
    Context& context_;
    std::int64_t dim_, width_;
    double mean_ = 0, deviation_ = 0, length_ = 0;
    std::vector<float> whole_, map_, bias_;
};

/// [L, N, H, e]: the weighted values times the map of their head, added to what the layer's bias gives to each.
inline void give_contributions(const ClipDecompositionInputs& x, const LastMap& last, double terms, float* to,
                               Context& context) {
    const std::int64_t layers = x.attn.size(0), heads = x.attn.size(1), tokens = x.attn.size(2), dim_v = x.v.size(3),
                       width = x.projection.size(1), rows = heads * tokens;
    const double each = 1 / static_cast<double>(rows);
    std::vector<float> base(static_cast<std::size_t>(layers * width)),
        maps(static_cast<std::size_t>(heads * dim_v * width)), values(static_cast<std::size_t>(rows * dim_v));
    last.give_terms(x.b_o.data, layers, each, each / terms, base.data());
    for (std::int64_t l = 0; l < layers; ++l) {
        float* const of_layer = to + l * rows * width;
        last.fold_into(x.w_o.data + l * x.w_o.count(1), heads * dim_v, maps.data());
        for_pieces(context, rows, 256, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t r = begin; r < end; ++r) {
                scale_weights()(x.v.data + (l * rows + r) * dim_v, dim_v, x.attn.data[l * rows + r],
                                values.data() + r * dim_v);
                std::copy_n(base.data() + l * width, width, of_layer + r * width);
            }
        });
        dense::multiply({values.data(), heads, tokens, dim_v}, {maps.data(), heads, dim_v, width},
                        {of_layer, heads, tokens, width, heads * width, width}, {.add = true}, context);
    }
}

}  // namespace detail

ATTENTA_INLINE void clip_decomposition(const ClipDecompositionInputs& x, const ClipDecompositionOutputs& out,
                                       const ClipDecompositionOptions& options, Context& context) {
    Check check("clip_decomposition", x);
    detail::check_clip_decomposition(check, x, options);
    check.outputs(out, x, options);
    detail::LastMap last(check, x, options.eps, context);
    if (out.length) *out.length = static_cast<float>(last.length());
    if (out.representation) last.give_representation(out.representation);
    if (!out.contributions && !out.mlp_contributions) return;
    last.fold();
    const auto terms = static_cast<double>(x.attn.size(0) + x.mlp.size(0));
    if (out.mlp_contributions) last.give_terms(x.mlp.data, x.mlp.size(0), 1, 1 / terms, out.mlp_contributions);
    if (out.contributions) detail::give_contributions(x, last, terms, out.contributions, context);
}

}  // namespace analysis

ATTENTA_END
