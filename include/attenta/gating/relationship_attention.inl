#pragma once

#include <attenta/engine/common/call_arrays.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/gating/relationship_attention.hpp>
#include <attenta/softmax/softmax.hpp>

#include <algorithm>
#include <string>
#include <utility>

ATTENTA_BEGIN

namespace detail {

inline void check_relationship(const RelationshipAttentionInputs& x, Matrices<float> o,
                               const RelationshipAttentionOptions& options) {
    MapCheck check("relationship_attention", InputList(x));
    check.finite("scale", options.scale);
    check.at_least("heads", options.heads, 1);
    for (const auto& [name, width] : {std::pair{"w_q", x.w_q.cols}, {"w_v", x.w_v.cols}})
        if (width % options.heads != 0)
            check.refuse(std::string(name) + " has " + checks::text(width) + " columns, needs a multiple of the " +
                         checks::text(options.heads) + " heads");
    if (x.position.data && x.position.heads != options.heads)
        check.refuse("position has " + checks::text(x.position.heads) + " heads, needs " + checks::text(options.heads));
    check.numbers(options.check_data);
    for (const auto& [name, width] : {std::pair{"x w_q", x.w_q.cols}, {"x w_v", x.w_v.cols}})
        check.scratch(name, 1, x.x.rows, width);
    if (o.heads != 1) check.refuse("o has " + checks::text(o.heads) + " heads, needs 1");
    check.output("o", {o.data, o.rows, 1, o.cols, o.row_stride, 0}, x.x.rows, 1, x.x.cols);
}

}  // namespace detail

ATTENTA_INLINE void relationship_attention(const RelationshipAttentionInputs& x, Matrices<float> o,
                                           const RelationshipAttentionOptions& options, Context& context) {
    detail::check_relationship(x, o, options);
    detail::CallArrays arrays(context);
    const std::int64_t batch = x.x.rows;
    const auto heads = [&](std::int64_t width) {
        return nhd(arrays.take(batch * width), batch, options.heads, width / options.heads);
    };
    const auto rows = [&](const Heads<float>& y) {
        return Matrices<float>{y.data, 1, batch, y.heads * y.dim, y.token_stride};
    };
    const auto project = [&](const Matrices<const float>& w) {
        const Heads<float> y = heads(w.cols);
        dense::multiply(x.x, w, rows(y), {}, context);
        return y;
    };
    const Heads<float> q = project(x.w_q), k = project(x.w_k), v = project(x.w_v), y = heads(x.w_v.cols);
    SoftmaxOptions softmax;
    softmax.scale = options.scale;
    if (x.position.data) softmax.bias = dense::matrices_of(x.position);
    softmax_attention<float, float>(q, k, v, y, softmax, nullptr, context);
    for (std::int64_t i = 0; i < batch; ++i) std::copy_n(x.x.row(0, i), x.x.cols, o.row(0, i));
    const Matrices<float> joined = rows(y);
    dense::multiply({joined.data, 1, batch, joined.cols, joined.row_stride}, x.w_o, o, {.add = true}, context);
}

ATTENTA_END
