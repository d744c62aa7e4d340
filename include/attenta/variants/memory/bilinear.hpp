// Scores qᵀ W_a k: W_a goes into the queries, keys stay in their cache.
#pragma once

#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/variants/common.hpp>

#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// A call with q, or with what will be q W_a in `memory`, of which check_bilinear sees the sizes alone.
template <class Inputs>
SoftmaxCall check_bilinear(const char* f, const Inputs& x, const WeightedOutputs& out, float scale,
                           const VisibleKeys& visibility, Context& context) {
    if (!x.w_a) return check_variant(f, x, SoftmaxOutputs{out.o}, scale, visibility, context);
    const InputList inputs(x);
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    checks::check_apart(f, "o", bytes_of(out.o), memory_of(inputs));
    // The products will be as wide as a row of W_a; q itself has been checked.
    const Heads<const float> q{x.w_a.data, x.q.heads, x.q.tokens, x.w_a.cols, 0, 0};
    SoftmaxCall call = check_softmax({f, inputs, q, x.kv, SoftmaxOutputs{out.o}, scale, visibility}, context);
    check_causal(f, visibility, x.q.tokens, call.keys());
    return call;
}

/// q W_a in `memory`, as the queries of the call.
void fold_bilinear(const Heads<const float>& q, const Matrices<const float>& w_a, SoftmaxCall& call,
                   std::vector<float>& memory);

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/memory/bilinear.inl>
#endif
