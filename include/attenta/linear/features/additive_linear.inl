#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/scan/features.hpp>
#include <attenta/linear/features/additive_linear.hpp>
#include <attenta/linear/features/row_sums.hpp>
#include <attenta/softmax/weights.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_additive_outputs(const AdditiveLinearInputs& x, const AdditiveLinearOutputs& out,
                                   std::span<const Input> inputs) {
    const char* f = "additive_linear";
    const auto array = [](float* p, std::int64_t heads, std::int64_t n) {
        return p ? bytes_of(hnd(p, heads, 1, n)) : Bytes{};
    };
    const bool keys = x.key_weight.data != nullptr;
    const NamedBytes outputs[] = {{"o", bytes_of(out.o)},
                                  {"global_q", array(out.global_q, x.q.heads, x.q.dim)},
                                  {"query_weights", array(out.query_weights, x.q.heads, x.q.tokens)},
                                  {"global_k", array(keys ? out.global_k : nullptr, x.k.heads, x.k.dim)},
                                  {"key_weights", array(keys ? out.key_weights : nullptr, x.k.heads, x.k.tokens)}};
    checks::check_output(f, x.k.heads, x.k.tokens, x.k.dim, out.o);
    checks::check_pointer(f, "o", out.o.data, sizeof(float), true);
    for (const NamedBytes* a = outputs; a != std::end(outputs); ++a) {
        checks::check_pointer(f, a->name, a->bytes.begin, sizeof(float), false);
        for (const NamedBytes* b = outputs; b != a; ++b)
            if (a->bytes.meets(b->bytes))
                fail(f, std::string(a->name) + " overlaps " + b->name + ", needs memory of its own");
        for (const Input& in : inputs)
            if (in.given() && a->bytes.meets(bytes_of(in.view)))
                fail(f, std::string(a->name) + " overlaps " + in.name + ", needs memory of its own");
    }
}

inline void check_additive(const AdditiveLinearInputs& x, const AdditiveLinearOutputs& out,
                           const AdditiveLinearOptions& options) {
    const char* f = "additive_linear";
    const auto text = [](auto n) { return std::to_string(n); };
    const InputList inputs(x);
    check_memory(f, "o", out.o);
    check_given(f, inputs);
    for (const auto& [name, view] : {std::pair{"q", x.q}, {"k", x.k}, {"v", x.v}})
        if (view.heads < 1 || view.tokens < 1 || view.dim < 1)
            fail(f, std::string(name) + " is " + checks::shape(view.heads, view.tokens, view.dim) +
                        ", needs at least 1 of each");
    LetterSizes letters;
    letters.set("W", saturating::multiply(x.q.heads, x.q.dim));
    check_shapes(f, inputs, letters);
    if (options.scale && !is_finite(*options.scale))
        fail(f, "scale is " + text(*options.scale) + ", needs a finite number");
    if (options.mode == AdditiveMode::fastformer) {
        if (!x.key_weight) fail(f, "key_weight is missing, fastformer needs it");
        if (x.q.tokens != x.k.tokens)
            fail(f, "q has " + text(x.q.tokens) + " tokens, fastformer needs the " + text(x.k.tokens) + " of k");
        if (!x.transform_bias.empty() && !x.transform_weight)
            fail(f, "transform_weight is missing, transform_bias needs it");
    }
    check_additive_outputs(x, out, inputs);
    if (options.check_data) check_numbers(f, inputs);
}

/// Tokens with their heads side by side, [1, T, H·D]: where they lie, or copied.
class SideBySide {
public:
    explicit SideBySide(Heads<const float> x) : rows_{x.data, 1, x.tokens, x.heads * x.dim, 0, x.token_stride} {
        if (x.heads == 1 || x.head_stride == x.dim) return;
        copy_.reserve(static_cast<std::size_t>(rows_.dim * x.tokens));
        for (std::int64_t t = 0; t < x.tokens; ++t)
            for (std::int64_t h = 0; h < x.heads; ++h) copy_.insert(copy_.end(), x.row(h, t), x.row(h, t) + x.dim);
        rows_ = hnd(static_cast<const float*>(copy_.data()), 1, x.tokens, rows_.dim);
    }
    Heads<const float> rows() const { return rows_; }
    KvView keys() const { return KvView::of(rows_, rows_); }

private:
    Heads<const float> rows_;
    std::vector<float> copy_;
};

/// Σ_t softmax_t(scale · weight_h · x^cat_t) x_ht of each head, side by side, [H·D].
inline std::vector<float> pool(const SideBySide& x, Heads<const float> weight, const SoftmaxOptions& options,
                               Context& context) {
    const std::int64_t heads = weight.heads, width = weight.dim, dim = width / heads;
    std::vector<float> of_all(static_cast<std::size_t>(heads * width));
    softmax_attention(weight, x.keys(), hnd(of_all.data(), heads, 1, width), options, nullptr, context);
    std::vector<float> own;
    for (std::int64_t h = 0; h < heads; ++h) {
        const float* const from = of_all.data() + h * (width + dim);
        own.insert(own.end(), from, from + dim);
    }
    return own;
}

/// The weights of a pooling, [H, T].
inline std::vector<float> pool_weights(const SideBySide& x, Heads<const float> weight, const SoftmaxOptions& options,
                                       Context& context) {
    const std::int64_t tokens = x.rows().tokens;
    std::vector<float> weights(static_cast<std::size_t>(weight.heads * tokens));
    softmax_scores(weight, x.keys(), weights.data(), ScoreStage::scaled, options, context);
    for (std::int64_t h = 0; h < weight.heads; ++h) {
        float* const row = weights.data() + h * tokens;
        features::softmax_features()({nullptr, tokens, tokens}, row, row);
    }
    return weights;
}

/// Rows of `x` times `factor`, dense.
inline std::vector<float> scaled_rows(const Matrices<const float>& x, const std::vector<float>& factor) {
    std::vector<float> y(static_cast<std::size_t>(x.rows * x.cols));
    for (std::int64_t r = 0; r < x.rows; ++r) {
        const RowProduct product{x.row(0, r), factor.data()};
        sum_of_products()(&product, 1, y.data() + r * x.cols, x.cols);
    }
    return y;
}

inline Heads<const float> queries_of(const Matrices<const float>& x) {
    return {x.data, x.rows, 1, x.cols, x.row_stride, x.cols};
}

inline void give(const std::vector<float>& values, float* to) {
    if (to) std::copy(values.begin(), values.end(), to);
}

}  // namespace detail

ATTENTA_INLINE void additive_linear(const AdditiveLinearInputs& x, const AdditiveLinearOutputs& out,
                                    const AdditiveLinearOptions& options, Context& context) {
    detail::check_additive(x, out, options);
    const std::int64_t dim = x.q.dim, width = x.q.heads * dim, tokens = x.k.tokens;
    const bool fastformer = options.mode == AdditiveMode::fastformer;
    SoftmaxOptions scaled;
    scaled.scale = options.scale.value_or(1.f / std::sqrt(static_cast<float>(dim)));
    const detail::SideBySide q(x.q);
    const auto of_q = detail::queries_of(x.query_weight);
    const std::vector<float> global_q = detail::pool(q, of_q, scaled, context);
    std::vector<float> query_weights, key_weights, global_k, transformed;
    if (out.query_weights) query_weights = detail::pool_weights(q, of_q, scaled, context);
    if (fastformer) {
        // key_weight · (q̄ ∘ k) = (key_weight ∘ q̄) · k, and the pooled p is q̄ times the pooled k.
        const detail::SideBySide k(x.k);
        const std::vector<float> weight = detail::scaled_rows(x.key_weight, global_q);
        const auto of_k = hnd(weight.data(), x.k.heads, 1, width);
        const std::vector<float> pooled = detail::pool(k, of_k, scaled, context);
        global_k = detail::scaled_rows({pooled.data(), 1, 1, width}, global_q);
        if (out.key_weights) key_weights = detail::pool_weights(k, of_k, scaled, context);
    }
    if (fastformer && x.transform_weight) {
        // The scores of tokens with rows of the matrix are their product.
        const std::vector<float> weight = detail::scaled_rows(x.transform_weight, global_k);
        const Heads<const float> rows = hnd(weight.data(), 1, width, width);
        transformed.resize(static_cast<std::size_t>(tokens * width));
        SoftmaxOptions plain;
        plain.scale = 1;
        softmax_scores(detail::SideBySide(x.v).rows(), KvView::of(rows, rows), transformed.data(), ScoreStage::scaled,
                       plain, context);
    }
    detail::give(global_q, out.global_q);
    detail::give(query_weights, out.query_weights);
    if (fastformer) detail::give(global_k, out.global_k);
    if (fastformer) detail::give(key_weights, out.key_weights);
    context.executor().parallel_for(x.k.heads, [&](std::int64_t h, int) {
        const float* const bias = x.transform_bias.empty() ? nullptr : x.transform_bias.data() + h * dim;
        for (std::int64_t j = 0; j < tokens; ++j) {
            RowProduct products[3] = {{x.k.row(h, j), global_q.data() + h * dim, x.v.row(h, j)}};
            std::int64_t count = 1;
            if (fastformer) {
                products[0] = {x.v.row(h, j), global_k.data() + h * dim};
                if (!transformed.empty()) products[0] = {transformed.data() + j * width + h * dim};
                products[count++] = {x.q.row(h, j)};
                if (!transformed.empty() && bias) products[count++] = {bias};
            }
            sum_of_products()(products, count, out.o.row(h, j), dim);
        }
    });
}

ATTENTA_END
