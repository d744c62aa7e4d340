#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/float_keys.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/variants/scores/combined.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_combined(const char* f, const CombinedInputs& x, const CombinedOutputs& out,
                           const CombinedOptions& o) {
    for (const auto& [name, value] : {std::pair{"alpha", o.alpha}, {"beta", o.beta}})
        if (!is_finite(value)) fail(f, std::string(name) + " is " + std::to_string(value) + ", needs a finite number");
    if (static_cast<int>(o.gate) > static_cast<int>(CombinedGate::sigmoid)) fail(f, "gate is none of CombinedGate");
    if ((x.q_n.data == nullptr) != (x.k_n.data == nullptr))
        fail(f, std::string(x.q_n.data ? "k_n" : "q_n") + " is null, the other one is given");
    if (x.kv.tied > 0 && !x.k_n.data)
        fail(f, "kv has keys that begin with their values, needs keys that are a row of their own, or k_n");
    if (x.k_n.data && x.kv.positions) fail(f, "kv has positions, needs keys in the order of k_n");
    if (out.o_k.data && !x.v_q.data) fail(f, "v_q is null, o_k needs it");
    if (!out.o_k.data) return;
    const VisibleKeys& v = o.visibility;
    if (!has_intervals(v) || v.prefix > 0 || v.window_left >= 0 || v.window_right >= 0)
        fail(f, "o_k is wanted, needs a call that is causal or shows all keys");
    if (x.kv.positions || x.kv.differs_by_head()) fail(f, "kv has positions, o_k needs keys in their order");
}

/// Keys, as queries, are seen by queries from their own position on.
struct FromKey {
    std::int64_t offset;  ///< position of query 0

    Spans spans(const QueryRow& r) const { return {hull(r, r), {}}; }
    Interval hull(const QueryRow& a, const QueryRow&) const {
        return {saturating::add(a.index, -offset), everywhere.end};
    }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const Interval k = keys.range();
        if (k.end <= hull(a, a).begin) return Cover::none;
        return k.begin >= hull(b, b).begin ? Cover::all : Cover::some;
    }
};

struct CombinedMemory {
    std::vector<float> keys, centre;
    std::vector<RowStatistics> sums, counts;
};

/// Minus the mean of all visible pairs' distances of each head.
inline void find_centres(const SoftmaxCall& call, const edits::CombinedPairs& pairs, bool intervals,
                         CombinedMemory& memory) {
    const std::int64_t heads = call.request.q.heads, queries = call.request.q.tokens;
    attention::Request r = without_products(call.request);
    r.edits.clear();
    r.edits.push_back(edit(edits::CombinedDistances{&pairs}));
    r.values = false;
    memory.sums.resize(static_cast<std::size_t>(heads * queries));
    attention::plan(r, *call.context).run(r.q, r.kv, {}, nullptr, {.found = memory.sums.data()});
    count_visible(call, intervals, memory.counts);
    memory.centre.resize(static_cast<std::size_t>(heads));
    for (std::int64_t h = 0; h < heads; ++h) {
        double sum = 0, count = 0;
        for (std::int64_t i = h * queries; i < (h + 1) * queries; ++i) {
            sum += double{memory.sums[static_cast<std::size_t>(i)].sum};
            count += double{memory.counts[static_cast<std::size_t>(i)].sum};
        }
        memory.centre[static_cast<std::size_t>(h)] = count > 0 ? static_cast<float>(-sum / count) : 0.f;
    }
}

/// o_k: keys in the place of queries, one head of K with its group of query heads at a time.
inline void attend_to_queries(const SoftmaxCall& call, const CombinedInputs& x, const edits::CombinedPairs& of_queries,
                              const Heads<const float>& keys, const Heads<float>& o_k, bool causal) {
    const std::int64_t group = of_queries.group;
    const auto repeated = [group](const Heads<const float>& y, std::int64_t head) {
        return Heads<const float>{y.row(head, 0), group, y.tokens, y.dim, 0, y.token_stride};
    };
    const auto part = [group](auto y, std::int64_t head) {
        y.data = y.row(head * group, 0);
        y.heads = group;
        return y;
    };
    for (std::int64_t h = 0; h < keys.heads; ++h) {
        edits::CombinedPairs pairs = of_queries;
        pairs.query = repeated(of_queries.key, h);
        pairs.key = part(of_queries.query, h);
        pairs.group = 1;
        if (pairs.centre) pairs.centre += h * group;
        attention::Request r;
        r.function = call.request.function;
        r.q = repeated(keys, h);
        r.kv = KvView::of(part(x.q, h), part(x.v_q, h));
        r.scale = call.request.scale;
        r.local_weights = true;
        if (causal) r.masks.push_back(FromKey{call.first_position()});
        r.edits.push_back(edit(edits::CombinedWeights{&pairs}));
        attention::plan(r, *call.context).run(r.q, r.kv, part(o_k, h), nullptr);
    }
}

}  // namespace detail

ATTENTA_INLINE void combined(const CombinedInputs& x, const CombinedOutputs& out, const CombinedOptions& options,
                             Context& context) {
    const char* const f = "combined";
    const float scale = detail::scale_or_default(options.scale, std::max<std::int64_t>(x.q.dim, 1));
    if (!is_finite(scale)) fail(f, "scale is " + std::to_string(scale) + ", needs a finite number");
    detail::check_combined(f, x, out, options);
    detail::SoftmaxCall call = detail::check_weighted(f, x, out, options.alpha * scale, options.visibility, context);
    const std::int64_t group = x.q.heads / x.kv.heads;
    detail::OutputMemory outputs(f, InputList(x), x.q, x.kv, out.o, nullptr);
    if (out.o_k.data) checks::check_output(f, x.q.heads, call.keys(), x.v_q.dim, out.o_k, "o_k");
    outputs.add("o_k", out.o_k);

    detail::CallMemory<detail::CombinedMemory> own(x.q.tokens, context);
    const bool needs_keys = !x.k_n.data || out.o_k.data;
    const Heads<const float> keys = needs_keys ? detail::keys_as_floats(x.kv, own->keys) : Heads<const float>{};
    edits::CombinedPairs pairs{.query = x.q_n.data ? x.q_n : x.q,
                               .key = x.k_n.data ? x.k_n : keys,
                               .group = group,
                               .beta = options.beta * scale,
                               .factor = options.gate == CombinedGate::double_sigmoid ? 2.f : 1.f,
                               .centre = nullptr};
    if (options.gate == CombinedGate::center) {
        detail::find_centres(call, pairs, detail::has_intervals(options.visibility), *own);
        pairs.centre = own->centre.data();
    }
    call.request.edits.push_back(edit(edits::CombinedWeights{&pairs}));
    call.run();
    if (out.o_k.data) detail::attend_to_queries(call, x, pairs, keys, out.o_k, options.visibility.causal);
}

ATTENTA_END
