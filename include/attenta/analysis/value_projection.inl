#pragma once

#include <attenta/analysis/common/arrays.hpp>
#include <attenta/analysis/common/ranking.hpp>
#include <attenta/analysis/kernels.hpp>
#include <attenta/analysis/projection_kernels.hpp>
#include <attenta/analysis/value_projection.hpp>
#include <attenta/engine/dense/dense.hpp>

#include <cmath>
#include <limits>
#include <string>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_value_projection(const ValueProjectionInputs& x, const ValueProjectionOutputs& out,
                                   const ValueProjectionOptions& options) {
    Check check("value_projection", x);
    if (x.w_o.size(0) % x.v.heads != 0)
        check.refuse("v has " + checks::text(x.v.heads) + " heads, needs a divisor of the " +
                     checks::text(x.w_o.size(0)) + " of w_o");
    if (options.norm != ProjectionNorm::none) check.needs("norm_w", !x.norm_w.empty(), "the norm");
    if (options.norm == ProjectionNorm::layernorm) check.needs("norm_b", !x.norm_b.empty(), "layernorm");
    check.finite("eps", options.eps);
    if (options.eps < 0) check.refuse("eps is " + std::to_string(options.eps) + ", needs 0 or more");
    check.range("target", options.target, 0, x.unembed.size(1) - 1);
    check.range("top", options.top, 1, x.unembed.size(1));
    check.finite_numbers("attn", x.attn);
    check.finite_numbers("v", x.v);
    check.finite_numbers("w_o", x.w_o);
    check.finite_numbers("unembed", x.unembed);
    check.finite_numbers("norm_w", x.norm_w.data(), std::ssize(x.norm_w));
    check.finite_numbers("norm_b", x.norm_b.data(), std::ssize(x.norm_b));
    check.scratch("what the keys write", x.w_o.size(0), x.v.tokens, x.w_o.size(2));
    check.outputs(out, x, options);
}

/// Rows [count, d] after the norm, in place.
inline void apply_norm(const ValueProjectionInputs& x, const ValueProjectionOptions& options, float* rows,
                       std::int64_t count, Context& context) {
    if (options.norm == ProjectionNorm::none) return;
    const bool layer = options.norm == ProjectionNorm::layernorm;
    const std::int64_t dim = x.w_o.size(2);
    for_pieces(context, count, 64, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r)
            normalize_readout_row()(rows + r * dim, dim, layer, static_cast<float>(options.eps), x.norm_w.data(),
                                    layer ? x.norm_b.data() : nullptr, rows + r * dim);
    });
}

/// What the keys write, and its logits.
inline void project_values(const ValueProjectionInputs& x, const ValueProjectionOptions& options,
                           const ValueProjectionOutputs& out, Context& context) {
    const std::int64_t heads = x.w_o.size(0), keys = x.v.tokens, dim = x.w_o.size(2), rows = heads * keys;
    std::vector<float> memory(static_cast<std::size_t>(rows * dim));
    dense::multiply(dense::matrices_of(x.v), x.w_o.matrices(), {memory.data(), heads, keys, dim}, {}, context);
    if (out.value_weight)
        for_pieces(context, rows, 256, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t r = begin; r < end; ++r) {
                const float* const row = memory.data() + r * dim;
                out.value_weight[r] = x.attn.data[r] * std::sqrt(dot_of_weights()(row, row, dim));
            }
        });
    if (!out.value_logits) return;
    apply_norm(x, options, memory.data(), rows, context);
    dense::multiply({memory.data(), 1, rows, dim}, x.unembed.matrices(), {out.value_logits, 1, rows, x.unembed.size(1)},
                    {}, context);
}

}  // namespace detail

ATTENTA_INLINE void value_projection(const ValueProjectionInputs& x, const ValueProjectionOutputs& out,
                                     const ValueProjectionOptions& options, Context& context) {
    detail::check_value_projection(x, out, options);
    const std::int64_t heads = x.w_o.size(0), keys = x.v.tokens, dim = x.w_o.size(2), vocabulary = x.unembed.size(1);
    Arrays<float> arrays;
    float *const weighed = arrays.take(heads * x.v.dim), *const moved = arrays.take(heads * dim);
    float* const probs = arrays.wanted_or_own(out.head_probs, heads * vocabulary);
    dense::multiply({x.attn.data, heads, 1, keys}, dense::matrices_of(x.v), {weighed, heads, 1, x.v.dim}, {}, context);
    dense::multiply({weighed, heads, 1, x.v.dim}, x.w_o.matrices(), {moved, heads, 1, dim}, {}, context);
    if (out.head_out) std::copy_n(moved, heads * dim, out.head_out);
    detail::apply_norm(x, options, moved, heads, context);
    dense::multiply({moved, 1, heads, dim}, x.unembed.matrices(), {probs, 1, heads, vocabulary}, {}, context);
    context.executor().parallel_for(heads, [&](std::int64_t h, int) {
        float* const row = probs + h * vocabulary;
        weigh_scores()(row, vocabulary, row);
        const float more = std::nextafter(row[options.target], std::numeric_limits<float>::infinity());
        if (out.rank) out.rank[h] = 1 + count_from()(row, vocabulary, more);
        if (out.top_tokens) largest(row, vocabulary, options.top, out.top_tokens + h * options.top);
    });
    if (out.value_weight || out.value_logits) detail::project_values(x, options, out, context);
}

}  // namespace analysis

ATTENTA_END
