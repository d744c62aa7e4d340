#pragma once

#include <attenta/engine/common/call_arrays.hpp>
#include <attenta/engine/dense/convolve.hpp>
#include <attenta/engine/dense/map_check.hpp>
#include <attenta/variants/structured/token_pooling_attention.hpp>
#include <attenta/variants/structured/token_pooling_attention_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

ATTENTA_BEGIN

namespace detail {

inline void check_token_pooling(const TokenPoolingAttentionInputs& x, const TokenPoolingAttentionOutputs& out,
                                const TokenPoolingAttentionOptions& options) {
    MapCheck check("token_pooling_attention", InputList(x));
    check.taps("w_1", x.w_1.dim);
    check.taps("w_2", x.w_2.dim);
    check.finite("temperature", options.temperature);
    if (!(options.temperature > 0))
        check.refuse("temperature is " + std::to_string(options.temperature) + ", needs a number above 0");
    check.epsilon("eps", options.eps);
    check.variances("norm_var", x.norm_var);
    check.numbers(options.check_data);
    check.scratch("the logits of the scales", x.w_1.heads, x.x.tokens, x.x.dim);
    check.map("o", out.o, x.x);
    check.output("weights", out.weights, x.w_1.heads, x.x.tokens, x.x.dim);
}

/// The logits become weights over the scales.
inline void weigh_scales(Heads<float> weights, Context& context) {
    const std::int64_t positions = weights.tokens * weights.dim;
    for_rows(context, 1, positions, 1024, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        structured::softmax_of_maps()(weights.data + begin, positions, weights.heads, end - begin);
    });
}

inline void mix_pools(Heads<const float> x, Heads<const float> weights, Heads<float> o, CallArrays& arrays,
                      Context& context) {
    const std::int64_t margin = std::min(weights.heads, x.dim), room = x.dim + 2 * margin;
    float* const scratch = arrays.take(context.executor().concurrency() * room);
    std::fill_n(scratch, context.executor().concurrency() * room, 0.f);
    const structured::PoolMixFunction mix = structured::mix_pools_row();
    context.executor().parallel_for(x.heads, [&](std::int64_t c, int slot) {
        structured::PoolMix row{.x = x.row(c, 0),
                                .row_stride = x.token_stride,
                                .rows = x.tokens,
                                .width = x.dim,
                                .weight_stride = weights.head_stride,
                                .scales = weights.heads,
                                .margin = margin,
                                .sums = scratch + slot * room + margin};
        for (row.row = 0; row.row < x.tokens; ++row.row) {
            row.weights = weights.row(0, row.row);
            row.to = o.row(c, row.row);
            mix(row);
        }
    });
}

}  // namespace detail

ATTENTA_INLINE void token_pooling_attention(const TokenPoolingAttentionInputs& x,
                                            const TokenPoolingAttentionOutputs& out,
                                            const TokenPoolingAttentionOptions& options, Context& context) {
    detail::check_token_pooling(x, out, options);
    detail::CallArrays arrays(context);
    const std::int64_t scales = x.w_1.heads, rows = x.x.tokens, columns = x.x.dim;
    float *const scale = arrays.take(scales), *const bias = arrays.take(scales), *const divisor = arrays.take(scales);
    for (std::int64_t n = 0; n < scales; ++n) {
        const auto i = static_cast<std::size_t>(n);
        scale[n] = x.norm[i] / std::sqrt(x.norm_var[i] + options.eps);
        bias[n] = x.norm_b[i] - x.norm_mean[i] * scale[n];
        divisor[n] = 1.f / options.temperature;
    }
    const Heads<float> weights =
        hnd(out.weights ? out.weights : arrays.take(scales * rows * columns), scales, rows, columns);
    const dense::PaddedMap map = dense::padded_map(x.x, detail::margin_of(x.w_1.dim), arrays, context),
                           inner = dense::empty_padded_map(weights, detail::margin_of(x.w_2.dim), arrays, context);
    dense::convolve(map, x.w_1, inner.inner, {.scale = scale, .bias = bias}, context);
    dense::convolve(inner, x.w_2, weights, {.scale = divisor}, context);
    detail::weigh_scales(weights, context);
    detail::mix_pools(x.x, weights, out.o, arrays, context);
}

ATTENTA_END
