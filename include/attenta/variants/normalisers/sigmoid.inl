#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/variants/normalisers/sigmoid.hpp>

#include <algorithm>
#include <cmath>
#include <string>

ATTENTA_BEGIN

ATTENTA_INLINE void sigmoid(const SigmoidInputs& x, const WeightedOutputs& out, const SigmoidOptions& options,
                            Context& context) {
    const char* const f = "sigmoid";
    const float scale = detail::scale_or_default(options.scale, std::max<std::int64_t>(x.q.dim, 1));
    detail::SoftmaxCall call = detail::check_weighted(f, x, out, scale, options.visibility, context);
    const float bias = options.bias.value_or(-std::log(static_cast<float>(call.keys())));
    if (!is_finite(bias)) fail(f, "bias is " + std::to_string(bias) + ", needs a finite number");
    call.request.edits.push_back(edit(edits::SigmoidWeights{bias}));
    call.run();
}

ATTENTA_END
