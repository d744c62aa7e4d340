#pragma once

#include <attenta/engine/dense/convolve.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/gating/kernels.hpp>
#include <attenta/gating/pixel_attention.hpp>

#include <string>
#include <utility>

ATTENTA_BEGIN

namespace detail {

inline void check_pixel_attention(const PixelAttentionInputs& x, Heads<float> o, const PixelAttentionOptions& options) {
    MapCheck check("pixel_attention", InputList(x));
    const bool convolves = options.mode == PixelAttentionMode::convolution;
    for (const auto& [name, w] : {std::pair{"w_3", x.w_3}, {"w_4", x.w_4}}) {
        if (convolves != (w.data != nullptr))
            check.refuse(std::string(name) + (convolves ? " is null, the mode convolution needs a kernel"
                                                        : " is given, the mode gate needs it to be null"));
        if (convolves) check.taps(name, w.dim);
    }
    check.numbers(options.check_data);
    check.map("o", o, x.x);
}

/// x ⊙ σ(W x + b): o holds the products before they become gates.
inline void gate_pixels(const PixelAttentionInputs& x, Heads<float> o, Context& context) {
    const dense::MapRuns runs = dense::runs_of(x.x, o);
    const auto map = dense::matrices_of(x.x, runs);
    const auto to = dense::matrices_of(o, runs);
    const gating::SigmoidGateRow gate = gating::sigmoid_gate_row();
    dense::multiply(x.w, map, to, {}, context, [&](const dense::ProductBlock& block) {
        for (std::int64_t c = block.row; c < block.row + block.rows; ++c) {
            float* const products = to.row(block.head, c) + block.column;
            gate({.x = map.row(block.head, c) + block.column,
                  .m = products,
                  .shift = -x.b[static_cast<std::size_t>(c)],
                  .n = block.columns,
                  .o = products});
        }
    });
}

}  // namespace detail

ATTENTA_INLINE void pixel_attention(const PixelAttentionInputs& x, Heads<float> o, const PixelAttentionOptions& options,
                                    Context& context) {
    detail::check_pixel_attention(x, o, options);
    if (options.mode == PixelAttentionMode::gate) return detail::gate_pixels(x, o, context);
    detail::CallArrays arrays(context);
    const dense::MapRuns runs = dense::runs_of(x.x, o);
    dense::multiply(x.w, dense::matrices_of(x.x, runs), dense::matrices_of(o, runs), {}, context);
    const dense::PaddedMap map = dense::padded_map(x.x, detail::margin_of(x.w_3.dim), arrays, context),
                           gated = dense::empty_padded_map(x.x, detail::margin_of(x.w_4.dim), arrays, context);
    dense::convolve(map, x.w_3, gated.inner, {.gates = o, .gate_bias = x.b.data()}, context);
    dense::convolve(gated, x.w_4, o, {}, context);
}

ATTENTA_END
