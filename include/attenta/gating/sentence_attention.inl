#pragma once

#include <attenta/engine/dense/layers.hpp>
#include <attenta/engine/dense/layers_kernels.hpp>
#include <attenta/gating/sentence_attention.hpp>

ATTENTA_BEGIN

ATTENTA_INLINE void sentence_attention(const SentenceAttentionInputs& x, const SentenceAttentionOutputs& out,
                                       const SentenceAttentionOptions& options, Context& context) {
    detail::MapCheck check("sentence_attention", InputList(x));
    check.epsilon("eps", options.eps);
    check.numbers(options.check_data);
    check.map("o", out.o, x.x);
    check.output("gate", out.gate, 1, 1, x.x.heads);

    detail::CallArrays arrays(context);
    const std::int64_t inner = x.w_1.rows, channels = x.x.heads;
    const Matrices<const float> s{x.s.data(), 1, 1, x.w_1.cols};
    const Matrices<float> y{arrays.take(inner), 1, 1, inner},
        gate{out.gate ? out.gate : arrays.take(channels), 1, 1, channels};
    dense::layer(s, x.w_1, true, {x.b_1.data()}, dense::Activation::none, y, context);
    dense::layer_norm_row()(y.data, inner, x.norm.data(), x.norm_b.data(), options.eps);
    dense::activate_block()({.y = y.data, .stride = inner, .rows = 1, .n = inner, .f = dense::Activation::relu});
    const bool softmax = options.activation == SentenceActivation::softmax;
    dense::layer(dense::read(y), x.w_2, true, {x.b_2.data()},
                 softmax ? dense::Activation::none : dense::Activation::sigmoid, gate, context);
    if (softmax) dense::softmax_row()(gate.data, channels, 1, nullptr);
    detail::apply_gate(x.x, {.channels = gate.data}, out.o, context);
}

ATTENTA_END
