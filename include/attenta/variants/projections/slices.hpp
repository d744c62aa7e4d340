// What the attentions of Hosseini and Hosseini 2024 read without a projection: head h has columns [h·D, (h + 1)·D) of the raw
// inputs, as a view.
#pragma once

#include <attenta/engine/common/output_memory.hpp>
#include <attenta/variants/common.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// Throws Error unless the columns of a raw input are those of `heads` heads, of `dim` features each where that is not 0.
inline Heads<const float> head_slices(const char* f, const char* name, const Matrices<const float>& x,
                                      std::int64_t heads, std::int64_t dim = 0) {
    if (heads < 1) fail(f, "q has no heads, needs at least one");
    if (x.cols < 1 || x.cols % heads != 0 || (dim > 0 && x.cols / heads != dim))
        fail(f, std::string(name) + " has " + checks::text(x.cols) + " columns, needs " +
                    (dim > 0 ? checks::text(dim) + " for each" : std::string("a multiple")) + " of the " +
                    checks::text(heads) + " heads of q");
    return {x.data, heads, x.rows, x.cols / heads, x.cols / heads, x.row_stride};
}

/// A call on slices of raw inputs, whose own names errors have.
inline SoftmaxCall check_sliced(const char* f, std::span<const Input> inputs, const Heads<const float>& q,
                                const KvView& kv, const SoftmaxOutputs& out, const std::optional<float>& scale,
                                const VisibleKeys& visibility, Context& context) {
    checks::check_results(f, q.heads, q.tokens, kv.v.dim, out.o, out.lse, memory_of(inputs));
    const float factor = scale_or_default(scale, std::max<std::int64_t>(q.dim, 1));
    SoftmaxCall call = check_softmax({f, inputs, q, kv, out, factor, visibility}, context);
    check_causal(f, visibility, q.tokens, call.keys());
    return call;
}

struct SliceOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        VisibleKeys::fields(visit, o.visibility);
    }
};

}  // namespace detail

ATTENTA_END
