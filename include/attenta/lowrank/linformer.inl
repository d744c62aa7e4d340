#pragma once

#include <attenta/engine/dense/dense.hpp>
#include <attenta/lowrank/linformer.hpp>
#include <attenta/softmax/softmax.hpp>

#include <string>

ATTENTA_BEGIN

namespace detail {

inline void check_linformer(const LinformerInputs& x, Heads<float> o, const LinformerOptions& options, float* lse) {
    LowRankCheck check("linformer", InputList(x));
    check.groups(x.q, x.k.heads);
    for (const auto& [name, p] : {std::pair{"proj_k", x.proj_k}, {"proj_v", x.proj_v}}) {
        if (!p.data) continue;
        if (p.heads != 1 && p.heads != x.k.heads)
            check.refuse(std::string(name) + " has " + checks::text(p.heads) + " heads, needs 1 or the " +
                         checks::text(x.k.heads) + " of k");
        if (p.dim < x.k.tokens)
            check.refuse(std::string(name) + " has " + checks::text(p.dim) + " columns, needs at least the " +
                         checks::text(x.k.tokens) + " tokens of k");
    }
    check.finite("scale", options.scale);
    check.numbers(options.check_data);
    check.scratch("the projection of k", x.k.heads, x.proj_k.tokens, x.k.dim);
    check.scratch("the projection of v", x.k.heads, x.proj_k.tokens, x.v.dim);
    check.output("o", o, x.q.heads, x.q.tokens, x.v.dim);
    check.output("lse", lse, x.q.heads, x.q.tokens, 1);
}

/// E x [H, R, D] of keys or values.
inline Heads<const float> to_slots(Heads<const float> projection, Heads<const float> x, CallArrays& arrays,
                                   Context& context) {
    projection.dim = x.tokens;
    const Heads<float> slots = arrays.heads(x.heads, projection.tokens, x.dim);
    dense::multiply(dense::matrices_of(projection), dense::matrices_of(x), dense::matrices_of(slots), {}, context);
    return slots;
}

}  // namespace detail

ATTENTA_INLINE void linformer(const LinformerInputs& x, Heads<float> o, const LinformerOptions& options, float* lse,
                              Context& context) {
    detail::check_linformer(x, o, options, lse);
    detail::CallArrays arrays(context);
    const Heads<const float> k = detail::to_slots(x.proj_k, x.k, arrays, context),
                             v = detail::to_slots(x.proj_v.data ? x.proj_v : x.proj_k, x.v, arrays, context);
    SoftmaxOptions softmax;
    softmax.scale = options.scale;
    softmax_attention(x.q, k, v, o, softmax, lse, context);
}

ATTENTA_END
