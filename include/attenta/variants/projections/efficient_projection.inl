#pragma once

#include <attenta/variants/projections/efficient_projection.hpp>

#include <algorithm>

ATTENTA_BEGIN

ATTENTA_INLINE void efficient_projection(const EfficientProjectionInputs& x, const SoftmaxOutputs& out,
                                         const EfficientProjectionOptions& options, Context& context) {
    const char* const f = "efficient_projection";
    const InputList inputs(x);
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    const Heads<const float> k = detail::head_slices(f, "x_k", x.x_k, x.q.heads, x.q.dim),
                             v = detail::head_slices(f, "x_v", x.x_v, x.q.heads);
    const KvView kv = KvView::of(k, v);
    const float scale = detail::scale_or_default(options.scale, std::max<std::int64_t>(x.q.dim, 1));
    const detail::SoftmaxCall call =
        detail::check_softmax({f, inputs, x.q, kv, out, scale, options.visibility}, context);
    detail::check_causal(f, options.visibility, x.q.tokens, call.keys());
    call.run();
}

ATTENTA_END
