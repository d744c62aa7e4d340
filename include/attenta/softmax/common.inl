#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/attention/positions.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/softmax/common.hpp>

#include <cmath>
#include <string>

ATTENTA_BEGIN

namespace detail {

ATTENTA_INLINE void check_norm_eps(const char* f, float eps) {
    if (!is_finite(eps) || eps < 0) fail(f, "eps is " + std::to_string(eps) + ", needs a finite number from 0 up");
}

ATTENTA_INLINE void check_parameter_heads(const char* f, const char* name, std::int64_t heads, std::int64_t of) {
    if (heads < 1 || of % heads != 0)
        fail(f, std::string(name) + " has " + checks::text(heads) + " heads, needs a divisor of the " +
                    checks::text(of) + " heads of q");
}

ATTENTA_INLINE std::int64_t SoftmaxCall::first_position() const {
    return attention::checks::first_position(request, 0, request.q.tokens);
}
ATTENTA_INLINE std::int64_t SoftmaxCall::end_of_positions() const {
    return attention::checks::end_of_positions(request.kv, 0);
}
ATTENTA_INLINE void SoftmaxCall::run() const {
    attention::plan(request, *context).run(request.q, request.kv, out.o, out.lse);
}

inline void check_segments(const char* f, const char* name, std::span<const std::int64_t> x, std::int64_t needed) {
    if (static_cast<std::int64_t>(x.size()) != needed || (needed > 0 && !x.data()))
        fail(f, std::string(name) + " has " + std::to_string(x.size()) + " elements, needs " + checks::text(needed));
}

inline void check_mask(const char* f, const Matrices<const bool>& m, std::int64_t heads, std::int64_t queries,
                       std::int64_t keys) {
    if ((m.heads != 1 && m.heads != heads) || (m.rows != 1 && m.rows != queries) || m.cols < 0 || m.cols > keys)
        fail(f, "mask is " + checks::shape(m.heads, m.rows, m.cols) + ", needs [1 or " + checks::text(heads) +
                    ", 1 or " + checks::text(queries) + ", at most " + checks::text(keys) + "]");
    if (m.row_stride < 0 || m.head_stride < 0)
        fail(f, "mask has strides " + checks::text(m.head_stride) + " and " + checks::text(m.row_stride) +
                    ", needs at least 0");
    checks::check_pointer(f, "mask", m.data, 1, queries > 0 && keys > 0);
    checks::check_extent(f, "mask", bytes_of(m, 1));
}

inline void check_visible(const char* f, const VisibleKeys& v, std::int64_t heads, std::int64_t queries,
                          std::int64_t keys) {
    checks::require_at_least(f, "prefix", v.prefix, 0);
    checks::require_at_least(f, "window_left", v.window_left, -1);
    checks::require_at_least(f, "window_right", v.window_right, -1);
    if (!v.segment_q.empty() || !v.segment_k.empty()) {
        check_segments(f, "segment_q", v.segment_q, queries);
        check_segments(f, "segment_k", v.segment_k, keys);
    }
    if (v.mask || v.mask.heads != 0 || v.mask.rows != 0 || v.mask.cols != 0)
        check_mask(f, v.mask, heads, queries, keys);
}

inline void add_masks(attention::Request& r, const VisibleKeys& v) {
    const Visibility rule{v.causal, v.prefix, {v.window_left, v.window_right}};
    if (!rule.everything()) r.masks.push_back(rule);
    if (!v.segment_q.empty()) r.masks.push_back(Documents{v.segment_q, v.segment_k});
    if (v.mask) r.masks.push_back(BoolMask{v.mask});
    if (v.visible) r.masks.push_back(v.visible);
}

/// Of one sequence, which has queries and keys.
inline void check_sequence(const SoftmaxParts& p) {
    const char* const f = p.function;
    if (p.kv.sequences != 1) fail(f, "kv has " + checks::text(p.kv.sequences) + " sequences, needs one");
    check_given(f, p.inputs);
    check_shapes(f, p.inputs, {});
    for (const auto& [name, n] : {std::pair{"q has no heads", p.q.heads},
                                  {"q has no tokens", p.q.tokens},
                                  {"k has no tokens", p.kv.length(0)},
                                  {"q has no features", p.q.dim}})
        if (n < 1) fail(f, std::string(name) + ", needs at least one");
}

/// Of a batch, whose sizes the engine checks.
inline void check_batch(const SoftmaxParts& p) {
    const VisibleKeys& v = p.visibility;
    if (v.mask || !v.segment_q.empty() || !v.segment_k.empty())
        fail(p.function, "segments or a mask are given for a batch, needs a call for each sequence");
    if (p.q_lengths->empty() && p.kv.sequences != 0)
        fail(p.function,
             "q_lengths is empty, needs one length for each of " + checks::text(p.kv.sequences) + " sequences");
}

ATTENTA_INLINE SoftmaxCall check_softmax(const SoftmaxParts& p, Context& context) {
    const char* const f = p.function;
    if (p.q_lengths)
        check_batch(p);
    else
        check_sequence(p);
    SoftmaxCall call{{}, p.out, &context};
    attention::Request& r = call.request;
    r.function = f;
    r.q = p.q;
    r.kv = p.kv;
    r.scale = p.scale;
    r.q_offset = p.visibility.q_offset;
    r.q_lengths = p.q_lengths.value_or(r.q_lengths);
    attention::check(r);
    check_visible(f, p.visibility, p.q.heads, p.q.tokens, p.q_lengths ? 0 : p.kv.length(0));
    add_masks(r, p.visibility);
    auto memory = memory_of(p.inputs);
    memory.push_back({"segment_q", bytes_of(p.visibility.segment_q)});
    memory.push_back({"segment_k", bytes_of(p.visibility.segment_k)});
    memory.push_back({"mask", bytes_of(p.visibility.mask, 1)});
    memory.push_back({"q_lengths", bytes_of(r.q_lengths)});
    attention::check_tensors(f, p.q, p.kv, &p.out.o, p.out.lse, memory);
    return call;
}

}  // namespace detail

ATTENTA_END
