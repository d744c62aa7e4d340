#pragma once

#include <attenta/engine/dense/layers.hpp>
#include <attenta/gating/class_semantics.hpp>
#include <attenta/gating/kernels.hpp>

#include <string>

ATTENTA_BEGIN

namespace detail {

/// Throws Error unless the four tensors of a gate are all given, or none is where the mode has no such gate.
inline void check_gate_weights(const MapCheck& check, bool wanted, const char* names, bool first, bool first_bias,
                               bool second, bool second_bias) {
    const bool all = first && first_bias && second && second_bias, any = first || first_bias || second || second_bias;
    if (wanted && !all) check.refuse(std::string(names) + " are not all given, the mode needs them");
    if (!wanted && any) check.refuse(std::string(names) + " are given, the mode needs them to be null");
}

inline void check_class_semantics(const ClassSemanticsInputs& x, const ClassSemanticsOutputs& out,
                                  const ClassSemanticsOptions& options) {
    MapCheck check("class_semantics", InputList(x));
    if (x.x.tokens != 1) check.refuse("x has " + checks::text(x.x.tokens) + " rows of positions, needs 1");
    const bool channels = options.mode != SemanticsMode::time, time = options.mode != SemanticsMode::channel;
    check_gate_weights(check, channels, "w_1, b_1, w_2 and b_2", x.w_1.data, x.b_1.data(), x.w_2.data, x.b_2.data());
    check_gate_weights(check, time, "w_3, b_3, w_4 and b_4", x.w_3.data, x.b_3.data(), x.w_4.data, x.b_4.data());
    check.numbers(options.check_data);
    if (time) check.scratch("the hidden layer of the gate of time", 1, x.w_3.rows, x.semantics.cols);
    check.map("o", out.o, x.x);
    check.output("channel_gate", channels ? out.channel_gate : nullptr, 1, 1, x.x.heads);
    check.output("time_gate", time ? out.time_gate : nullptr, 1, 1, x.x.dim);
}

inline void semantic_channel_gate(const ClassSemanticsInputs& x, float* gate, CallArrays& arrays, Context& context) {
    const std::int64_t classes = x.semantics.rows, hidden = x.w_1.rows;
    const Matrices<float> means{arrays.take(classes), 1, 1, classes}, inner{arrays.take(hidden), 1, 1, hidden};
    for_rows(context, 1, classes, 16, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        for (std::int64_t k = begin; k < end; ++k)
            means.data[k] = gating::pool_runs()({x.semantics.row(0, k), 1, x.semantics.cols, 0}, false).mean;
    });
    dense::layer(dense::read(means), x.w_1, true, {x.b_1.data()}, dense::Activation::relu, inner, context);
    dense::layer(dense::read(inner), x.w_2, true, {x.b_2.data()}, dense::Activation::sigmoid, {gate, 1, 1, x.x.heads},
                 context);
}

inline void semantic_time_gate(const ClassSemanticsInputs& x, float* gate, CallArrays& arrays, Context& context) {
    const std::int64_t steps = x.semantics.cols, hidden = x.w_3.rows;
    const Matrices<float> inner{arrays.take(hidden * steps), 1, hidden, steps};
    dense::layer(x.w_3, x.semantics, false, {x.b_3.data(), true}, dense::Activation::relu, inner, context);
    dense::layer(x.w_4, dense::read(inner), false, {x.b_4.data(), true}, dense::Activation::sigmoid,
                 {gate, 1, 1, steps}, context);
}

}  // namespace detail

ATTENTA_INLINE void class_semantics(const ClassSemanticsInputs& x, const ClassSemanticsOutputs& out,
                                    const ClassSemanticsOptions& options, Context& context) {
    detail::check_class_semantics(x, out, options);
    detail::CallArrays arrays(context);
    detail::MapGate gate{.sum = options.fuse == SemanticsFuse::sum, .more = options.residual ? 1.f : 0.f};
    if (options.mode != SemanticsMode::time) {
        float* const channels = out.channel_gate ? out.channel_gate : arrays.take(x.x.heads);
        detail::semantic_channel_gate(x, channels, arrays, context);
        gate.channels = channels;
    }
    if (options.mode != SemanticsMode::channel) {
        float* const time = out.time_gate ? out.time_gate : arrays.take(x.x.dim);
        detail::semantic_time_gate(x, time, arrays, context);
        gate.positions = time;
    }
    detail::apply_gate(x.x, gate, out.o, context);
}

ATTENTA_END
