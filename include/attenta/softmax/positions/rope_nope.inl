#pragma once

#include <attenta/engine/common/call_memory.hpp>
#include <attenta/softmax/positions/prepared_rows.hpp>
#include <attenta/softmax/positions/rope_nope.hpp>

#include <algorithm>
#include <cmath>
#include <string>

ATTENTA_BEGIN

namespace detail {

inline void check_rope_nope(const char* f, const RopeNopeInputs& x, const RopeNopeOptions& o) {
    if (o.window < 0) fail(f, "window is " + checks::text(o.window) + ", needs 0 (all) or more");
    check_norm_eps(f, o.eps);
    if (o.layer == RopeNopeLayer::rope) {
        check_rotary_base(f, "base", o.base);
        if (x.q.dim % 2 != 0)
            fail(f, "q has " + checks::text(x.q.dim) + " features, a rope layer needs an even number");
    }
    const bool norm = o.norm != QueryKeyNorm::none;
    const auto check = [&](const char* name, const Matrices<const float>& weight, std::int64_t heads) {
        if (norm && !weight) fail(f, std::string(name) + " is null, a norm needs it");
        if (!norm && weight) fail(f, std::string(name) + " is given, there is no norm");
        if (weight && weight.rows != 1 && weight.rows != heads)
            fail(f,
                 std::string(name) + " has " + checks::text(weight.rows) + " rows, needs 1 or " + checks::text(heads));
    };
    check("q_norm", x.q_norm, x.q.heads);
    check("k_norm", x.k_norm, x.k.heads);
}

}  // namespace detail

ATTENTA_INLINE void rope_nope(const RopeNopeInputs& x, const SoftmaxOutputs& out, const RopeNopeOptions& options,
                              Context& context) {
    const char* const f = "rope_nope";
    detail::check_rope_nope(f, x, options);
    const bool rope = options.layer == RopeNopeLayer::rope, windowed = rope && options.window > 0;
    VisibleKeys visibility;
    visibility.causal = true;
    visibility.q_offset = options.q_offset;
    if (windowed) visibility.window_left = options.window - 1;
    detail::SoftmaxCall call = detail::check_softmax_tensors(
        f, x, out, detail::scale_or_default(options.scale, std::max<std::int64_t>(x.q.dim, 1)), visibility, context);
    if (!rope && options.norm == QueryKeyNorm::none) return call.run();

    // Keys before the first query's window are seen by nobody.
    const std::int64_t first = call.first_position(),
                       skipped = windowed
                                     ? std::clamp<std::int64_t>(
                                           saturating::add(saturating::add(first, 1), -options.window), 0, x.k.tokens)
                                     : 0,
                       keys = x.k.tokens - skipped;
    detail::CallMemory<detail::PreparedMemory> memory(x.q.tokens, context);
    memory->frequencies.clear();
    if (rope) rotary::set_frequencies(memory->frequencies, x.q.dim, options.base);
    detail::RowPreparation how{.eps = options.eps,
                               .weight = x.q_norm,
                               .frequencies = memory->frequencies,
                               .interleaved = options.layout == RopeLayout::interleaved};
    if (options.norm == QueryKeyNorm::rms) how.norm = detail::VectorNorm::rms;
    if (options.norm == QueryKeyNorm::layer) how.norm = detail::VectorNorm::layer;
    const Heads<float> q = memory->queries(x.q.heads, x.q.tokens, x.q.dim), k = memory->keys(x.k.heads, keys, x.k.dim);
    detail::prepare_rows(x.q, first, how, q, context);
    how.weight = x.k_norm;
    detail::prepare_rows(x.k.slice(skipped, keys), skipped, how, k, context);
    call.request.q = q;
    call.request.kv = KvView::of(k, x.v.slice(skipped, keys));
    call.request.q_offset = first - skipped;
    call.run();
}

ATTENTA_END
