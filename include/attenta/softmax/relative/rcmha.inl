#pragma once

#include <attenta/engine/common/call_memory.hpp>
#include <attenta/linear/recurrent/causal_conv.hpp>
#include <attenta/softmax/relative/query_ranges.hpp>
#include <attenta/softmax/relative/rcmha.hpp>
#include <attenta/softmax/relative/terms.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace detail {

struct RcmhaMemory {
    RelativeTerms terms;
    std::vector<float> lse, q, k, v, with_u, bias;
};

inline void check_rcmha(const RcmhaInputs& x, const Distances& d) {
    const char* const f = "rcmha";
    for (const auto& [name, weight] : {std::pair{"conv_q_weight", &x.conv_q_weight},
                                       {"conv_k_weight", &x.conv_k_weight},
                                       {"conv_v_weight", &x.conv_v_weight}})
        if (weight->cols < 1) fail(f, std::string(name) + " has 0 taps, needs at least 1");
    const std::int64_t half = x.rel_k.tokens / 2;
    if (x.rel_k.tokens % 2 != 0) fail(f, "rel_k has " + checks::text(x.rel_k.tokens) + " rows, needs an even number");
    if (d.first < -half || d.last >= half)
        fail(f, "rel_k has distances " + checks::text(-half) + " to " + checks::text(half - 1) + ", needs " +
                    checks::text(d.first) + " to " + checks::text(d.last));
}

/// A kernel of each channel along the tokens of all heads.
inline Heads<const float> convolved(const Heads<const float>& x, const Matrices<const float>& weight,
                                    std::span<const float> bias, std::vector<float>& memory, Context& context) {
    memory.resize(static_cast<std::size_t>(x.heads * x.tokens * x.dim));
    const Heads<float> y = hnd(memory.data(), x.heads, x.tokens, x.dim);
    LinearState state;
    causal_conv(
        {x, {weight.data, x.heads, x.dim, weight.cols, 0, weight.row_stride}, {bias.data(), x.heads, 1, x.dim, 0, 0}},
        y, state, {}, context);
    return y;
}

}  // namespace detail

ATTENTA_INLINE void rcmha(const RcmhaInputs& x, const SoftmaxOutputs& out, const RcmhaOptions& options,
                          Context& context) {
    const detail::SoftmaxCall given = detail::check_softmax_tensors(
        "rcmha", x, out, detail::scale_or_default(options.scale, x.q.dim), options.visibility, context);
    detail::check_rcmha(x, detail::visible_distances(given, options.visibility));
    const detail::CallMemory<detail::RcmhaMemory> memory(x.q.tokens, context);
    detail::SoftmaxCall call = given;
    call.request.q = detail::convolved(x.q, x.conv_q_weight, x.conv_q_bias, memory->q, context);
    call.request.kv = KvView::of(detail::convolved(x.k, x.conv_k_weight, x.conv_k_bias, memory->k, context),
                                 detail::convolved(x.v, x.conv_v_weight, x.conv_v_bias, memory->v, context));
    const std::int64_t half = x.rel_k.tokens / 2,
                       range = detail::RelativeTerms::queries_at_once(
                           x.q.heads, detail::visible_distances(call, options.visibility).count(), x.q.tokens);
    const auto bias_of = [&](std::int64_t h, std::int64_t d) {
        return x.rel_bias.data + h * x.rel_bias.row_stride + half + d;
    };
    detail::for_query_ranges(call, range, memory->lse, [&](detail::SoftmaxCall& part, std::int64_t) {
        const detail::Distances d = detail::visible_distances(part, options.visibility);
        memory->bias.resize(static_cast<std::size_t>(x.q.heads * d.count()));
        for (std::int64_t h = 0; h < x.q.heads; ++h)
            std::transform(bias_of(h, d.first), bias_of(h, d.last + 1), memory->bias.data() + h * d.count(),
                           [&](float b) { return part.request.scale * b; });
        memory->terms.set(part.request.q, x.rel_k.slice(half + d.first, d.count()), d.first, part.request.scale,
                          memory->bias.data(), context);
        part.request.edits.push_back(edit(memory->terms.edit()));
        part.request.q = detail::with_bias(part.request.q, x.bias_u, memory->with_u);
        part.run();
    });
}

ATTENTA_END
