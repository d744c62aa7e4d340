#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/variants/normalisers/sigmoid.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline float sigmoid_bias(const SigmoidOptions& options, std::int64_t keys) {
    return options.bias.value_or(-std::log(static_cast<float>(std::max<std::int64_t>(keys, 1))));
}

inline float sigmoid_scale(const char* f, const SigmoidInputs& x, const SigmoidOptions& options) {
    if (options.bias && !is_finite(*options.bias))
        fail(f, "bias is " + std::to_string(*options.bias) + ", needs a finite number");
    return scale_or_default(options.scale, std::max<std::int64_t>(x.q.dim, 1));
}

struct SigmoidBiases {
    std::vector<float> of_sequence;
};

}  // namespace detail

ATTENTA_INLINE void sigmoid(const SigmoidInputs& x, const WeightedOutputs& out, const SigmoidOptions& options,
                            Context& context) {
    const char* const f = "sigmoid";
    detail::SoftmaxCall call =
        detail::check_weighted(f, x, out, detail::sigmoid_scale(f, x, options), options.visibility, context);
    call.request.edits.push_back(edit(edits::SigmoidWeights{detail::sigmoid_bias(options, call.keys())}));
    call.run();
}

ATTENTA_INLINE void sigmoid_sequences(const SigmoidInputs& x, std::span<const std::int32_t> q_lengths,
                                      const WeightedOutputs& out, const SigmoidOptions& options, Context& context) {
    const char* const f = "sigmoid_sequences";
    const SoftmaxOutputs o{out.o};
    detail::SoftmaxCall call = detail::check_softmax({.function = f,
                                                      .inputs = InputList(x),
                                                      .q = x.q,
                                                      .kv = x.kv,
                                                      .out = o,
                                                      .scale = detail::sigmoid_scale(f, x, options),
                                                      .visibility = options.visibility,
                                                      .q_lengths = q_lengths},
                                                     context);
    detail::CallMemory<detail::SigmoidBiases> biases(x.q.tokens, context);
    biases->of_sequence.clear();
    for (std::int64_t s = 0; s < x.kv.sequences; ++s)
        biases->of_sequence.push_back(detail::sigmoid_bias(options, x.kv.length(s)));
    call.request.local_weights = true;
    call.request.edits.push_back(edit(edits::SigmoidWeights{0, biases->of_sequence.data()}));
    call.run();
}

ATTENTA_END
