#pragma once

#include <attenta/analysis/attention_lens.hpp>
#include <attenta/analysis/common/arrays.hpp>
#include <attenta/analysis/common/ranking.hpp>
#include <attenta/engine/dense/dense.hpp>

#include <algorithm>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_attention_lens(const AttentionLensInputs& x, const AttentionLensOutputs& out,
                                 const AttentionLensOptions& options) {
    Check check("attention_lens", x);
    check.range("top", options.top, 1, x.lens_b.size(1));
    check.finite_numbers("head_out", x.head_out);
    check.finite_numbers("lens_w", x.lens_w);
    check.finite_numbers("lens_b", x.lens_b);
    check.outputs(out, x, options);
}

/// Logits [T, V] of all heads: their products are added up in place, to the sum of the biases.
inline void sum_of_lenses(const AttentionLensInputs& x, float* logits, Context& context) {
    const std::int64_t heads = x.head_out.size(0), tokens = x.head_out.size(1), dim = x.head_out.size(2),
                       vocabulary = x.lens_b.size(1);
    const std::vector<float> ones(static_cast<std::size_t>(tokens * heads), 1.f);
    dense::multiply({ones.data(), 1, tokens, heads}, x.lens_b.matrices(), {logits, 1, tokens, vocabulary}, {}, context);
    for (std::int64_t h = 0; h < heads; ++h)
        dense::multiply({x.head_out.data + h * tokens * dim, 1, tokens, dim},
                        {x.lens_w.data + h * dim * vocabulary, 1, dim, vocabulary}, {logits, 1, tokens, vocabulary},
                        {.add = true}, context);
}

}  // namespace detail

ATTENTA_INLINE void attention_lens(const AttentionLensInputs& x, const AttentionLensOutputs& out,
                                   const AttentionLensOptions& options, Context& context) {
    detail::check_attention_lens(x, out, options);
    const std::int64_t heads = x.head_out.size(0), tokens = x.head_out.size(1), dim = x.head_out.size(2),
                       vocabulary = x.lens_b.size(1);
    if (out.logits) detail::sum_of_lenses(x, out.logits, context);
    if (!out.head_logits && !out.top_tokens) return;
    Arrays<float> arrays;
    float* const last = arrays.wanted_or_own(out.head_logits, heads * vocabulary);
    std::copy_n(x.lens_b.data, heads * vocabulary, last);
    dense::multiply({x.head_out.data + (tokens - 1) * dim, heads, 1, dim, dim, tokens * dim}, x.lens_w.matrices(),
                    {last, heads, 1, vocabulary}, {.add = true}, context);
    for (std::int64_t h = 0; out.top_tokens && h < heads; ++h)
        largest(last + h * vocabulary, vocabulary, options.top, out.top_tokens + h * options.top);
}

}  // namespace analysis

ATTENTA_END
