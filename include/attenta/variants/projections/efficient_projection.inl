#pragma once

#include <attenta/variants/projections/efficient_projection.hpp>

ATTENTA_BEGIN

ATTENTA_INLINE void efficient_projection(const EfficientProjectionInputs& x, const SoftmaxOutputs& out,
                                         const EfficientProjectionOptions& options, Context& context) {
    const char* const f = "efficient_projection";
    const InputList inputs(x);
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    const Heads<const float> k = detail::head_slices(f, "x_k", x.x_k, x.q.heads, x.q.dim),
                             v = detail::head_slices(f, "x_v", x.x_v, x.q.heads);
    detail::check_sliced(f, inputs, x.q, KvView::of(k, v), out, options.scale, options.visibility, context).run();
}

ATTENTA_END
