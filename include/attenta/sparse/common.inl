#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/merge.hpp>
#include <attenta/sparse/common.hpp>
#include <attenta/sparse/further_outputs.hpp>
#include <attenta/sparse/key_rows.hpp>

#include <cmath>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

ATTENTA_INLINE void check_eps(const char* f, float eps) {
    if (!is_finite(eps) || eps < 0) fail(f, "eps is " + std::to_string(eps) + ", needs a finite number from 0 up");
}

ATTENTA_INLINE void check_scale(const char* f, std::optional<float> scale) {
    if (scale && (!is_finite(*scale) || *scale <= 0))
        fail(f, "scale is " + std::to_string(*scale) + ", needs a finite number above 0");
}

/// Selections read keys themselves, as floats of one length.
inline void check_rows_alike(const char* f, const KvView& kv) {
    if (kv.k.dtype == Dtype::codes || kv.v.dtype == Dtype::codes)
        fail(f, "k or v are codes, needs f32, bf16 or f16; softmax_attention reads codes, on lists too");
    if (kv.tied > 0) fail(f, "keys are tied to values, needs keys of their own");
    if (kv.differs_by_head()) fail(f, "heads of kv hold different tokens, needs the same ones");
}

ATTENTA_INLINE void check_selection(const char* f, std::span<const Input> inputs, Heads<const float> q,
                                    const KvView& kv) {
    using checks::text;
    check_rows_alike(f, kv);
    if (kv.sequences != 1) fail(f, "kv has " + text(kv.sequences) + " sequences, needs one");
    if (kv.positions) fail(f, "kv has positions, needs keys in the order of the sequence");
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    if (q.heads < 1 || kv.heads < 1 || q.heads % kv.heads != 0)
        fail(f, "q has " + text(q.heads) + " heads, needs a multiple of the " + text(kv.heads) + " heads of k");
    if (q.tokens > kv.length(0))
        fail(f, "q has " + text(q.tokens) + " tokens, needs at most the " + text(kv.length(0)) + " of k");
}

ATTENTA_INLINE attention::Request SparseCall::request() const {
    attention::Request r;
    r.function = function;
    r.q = q;
    r.kv = kv;
    r.scale = scale;
    return r;
}

ATTENTA_INLINE void SparseCall::run(const attention::Request& r) const {
    attention::plan(r, *context).run(q, kv, out.o, out.lse);
}

ATTENTA_INLINE void SparseCall::attend(const Mask& mask) const {
    attention::Request r = request();
    r.masks.push_back(mask);
    run(r);
}

ATTENTA_INLINE void SparseCall::attend(const KeyLists& lists, const Mask& mask) const {
    attention::Request r = request();
    if (mask) r.masks.push_back(mask);
    r.lists = {&lists, 1};
    run(r);
    if (out.lists && out.lists != &lists) *out.lists = lists;
}

ATTENTA_INLINE SparseParts::SparseParts(const SparseCall& call, std::int64_t parts)
    : call_(&call), results_(call.q.tokens, *call.context), parts_(parts) {
    const std::int64_t rows = saturating::multiply(parts, saturating::multiply(call.q.heads, call.q.tokens));
    results_->o.assign(static_cast<std::size_t>(saturating::multiply(rows, call.kv.v.dim)), 0.f);
    results_->statistics.assign(static_cast<std::size_t>(rows), {});
}

ATTENTA_INLINE Heads<float> SparseParts::o(std::int64_t part) {
    const std::int64_t size = call_->q.heads * call_->q.tokens * call_->kv.v.dim;
    return hnd(results_->o.data() + part * size, call_->q.heads, call_->q.tokens, call_->kv.v.dim);
}

ATTENTA_INLINE void SparseParts::add(const attention::Request& r) {
    RowStatistics* const statistics = results_->statistics.data() + count_ * call_->q.heads * call_->q.tokens;
    attention::plan(r, *call_->context).run(r.q, r.kv, o(count_), nullptr, {.found = statistics});
    ++count_;
}

ATTENTA_INLINE void SparseParts::merge() const {
    const SparseCall& c = *call_;
    const std::int64_t rows = c.q.heads * c.q.tokens, dim_v = c.kv.v.dim;
    const MergeFunction function = merge_row(active_isa());
    run_tasks(c.context->executor(), c.q.heads, [&](std::int64_t h, int) {
        for (std::int64_t t = 0; t < c.q.tokens; ++t) {
            const std::int64_t row = h * c.q.tokens + t;
            const RowStatistics* const first = results_->statistics.data() + row;
            const RowStatistics all = function(results_->o.data() + row * dim_v, rows * dim_v, &first->max, &first->sum,
                                               2 * rows, parts_, dim_v, c.out.o.row(h, t));
            if (c.out.lse) c.out.lse[row] = all.lse();
        }
    });
}

ATTENTA_INLINE void check_rows(const char* f, const char* name, const KvView& kv, bool values) {
    const KvView rows = values ? values_as_keys(kv) : kv;
    std::vector<float> row(static_cast<std::size_t>(rows.k.dim));
    for (std::int64_t t = 0; t < rows.length(0); ++t)
        for (std::int64_t h = 0; h < rows.heads; ++h) {
            read_key(rows, h, t, row.data());
            for (std::int64_t c = 0; c < rows.k.dim; ++c)
                if (is_nan(row[static_cast<std::size_t>(c)]))
                    fail(f, std::string(name) + " is nan at " + checks::shape(h, t, c) + ", needs a number");
        }
}

ATTENTA_INLINE SparseCall check_sparse(const char* f, std::span<const Input> inputs, Heads<const float> q,
                                       const KvView& kv, const SparseOutputs& out, std::optional<float> scale,
                                       Positions positions, bool check_data, Context& context) {
    using checks::text;
    check_scale(f, scale);
    check_rows_alike(f, kv);
    if (kv.sequences != 1) fail(f, "kv has " + text(kv.sequences) + " sequences, needs one");
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    const std::int64_t keys = kv.length(0);
    for (const auto& [name, n] : {std::pair{"q has no heads", q.heads},
                                  {"q has no tokens", q.tokens},
                                  {"k has no tokens", keys},
                                  {"q has no features", q.dim}})
        if (n < 1) fail(f, std::string(name) + ", needs at least one");
    if (positions == Positions::last && q.tokens > keys)
        fail(f, "q has " + text(q.tokens) + " tokens, needs at most the " + text(keys) + " of k");
    if (positions == Positions::same && q.tokens != keys)
        fail(f, "q has " + text(q.tokens) + " tokens, needs the " + text(keys) + " of k");
    if (positions != Positions::none && kv.positions)
        fail(f, "kv has positions, needs keys in the order of the sequence");
    const SparseCall call{f, q, kv, out, scale.value_or(1.f / std::sqrt(static_cast<float>(q.dim))), &context};
    attention::check(call.request());
    attention::check_tensors(f, q, kv, &out.o, out.lse, memory_of(inputs));
    if (check_data) {
        check_numbers(f, inputs);
        for (const Input& in : inputs)
            if (in.elements == Input::Elements::cache && (in.view.data == kv.k.data || in.view.data == kv.v.data))
                check_rows(f, in.name, kv, in.view.data == kv.v.data);
    }
    return call;
}

}  // namespace detail

ATTENTA_END
