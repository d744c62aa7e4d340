#pragma once

#include <attenta/engine/common/checks.hpp>
#include <attenta/sparse/further_outputs.hpp>
#include <attenta/sparse/retrieval/retrieval.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_retrieval(const RetrievalInputs& x, const RetrievalOptions& options) {
    require_at_least("retrieval", "sink", options.sink, 0);
    require_at_least("retrieval", "window", options.window, 1);
    require_at_least("retrieval", "top_k", options.top_k, 0);
    if (!x.found.data) {
        if (options.read_found) fail("retrieval", "found is null, needs what read_found shall read");
        return;
    }
    if (x.found.heads != x.q.heads || x.found.tokens != x.q.tokens)
        fail("retrieval", "found is " + checks::shape(x.found.heads, x.found.tokens, x.found.dim) + ", needs " +
                              checks::shape(x.q.heads, x.q.tokens, x.found.dim));
    for (std::int64_t h = 0; h < x.found.heads; ++h)
        for (std::int64_t t = 0; t < x.found.tokens; ++t)
            for (std::int64_t n = 0; n < x.found.dim; ++n)
                if (const std::int64_t key = x.found.row(h, t)[n]; key < -1 || key >= x.kv.length(0))
                    fail("retrieval", "found has " + std::to_string(key) + " at " + checks::shape(h, t, n) +
                                          ", needs -1 to " + std::to_string(x.kv.length(0) - 1));
}

/// Keys that a query may retrieve.
inline Interval retrievable(const RetrievalOptions& options, std::int64_t position) {
    const Interval keys{options.sink, position + 1 - options.window};
    return keys.empty() ? Interval{} : keys;
}

/// What was found of the keys that a query may retrieve, ascending, each once.
inline std::vector<std::int64_t> found_of(const RetrievalInputs& x, const Interval& keys, std::int64_t head,
                                          std::int64_t query) {
    std::vector<std::int64_t> found;
    for (std::int64_t n = 0; n < x.found.dim; ++n)
        if (const std::int64_t key = x.found.row(head, query)[n]; key >= keys.begin && key < keys.end)
            found.push_back(key);
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
}

/// Sinks, the keys that were found, if they are to be read, and the window.
inline void lists_without_search(const RetrievalInputs& x, KeyLists& lists, const RetrievalOptions& options) {
    const std::int64_t keys = x.kv.length(0);
    lists.reset({x.q.heads, x.q.tokens, keys});
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        for (std::int64_t t = 0; t < x.q.tokens; ++t) {
            const std::int64_t own = keys - x.q.tokens + t + 1, sinks = std::min(options.sink, own);
            lists.add(0, sinks);
            if (options.read_found)
                for (const std::int64_t key : found_of(x, retrievable(options, own - 1), h, t)) lists.add(key, 1);
            const std::int64_t window = std::max(sinks, own - options.window);
            lists.add(window, own - window);
            lists.end_list();
        }
}

/// |found ∩ R| / |R|
inline void measure_recall(const RetrievalInputs& x, const KeyLists& exact, const RetrievalOptions& options,
                           float* recall) {
    for (std::int64_t list = 0; list < exact.lists(); ++list) {
        const std::int64_t h = list / x.q.tokens, t = list % x.q.tokens;
        const Interval keys = retrievable(options, x.kv.length(0) - x.q.tokens + t);
        const std::vector<std::int64_t> found = found_of(x, keys, h, t);
        std::int64_t all = 0, hits = 0;
        for (const KeyRun& run : exact.runs(list)) {
            const Interval part = intersect(keys, {run.start, std::int64_t{run.start} + run.count});
            all += part.end - part.begin;
            hits += std::lower_bound(found.begin(), found.end(), part.end) -
                    std::lower_bound(found.begin(), found.end(), part.begin);
        }
        recall[list] = all == 0 ? 1.f : static_cast<float>(hits) / static_cast<float>(all);
    }
}

/// o_static and lse_static, as far as they are wanted.
class StaticPart {
public:
    StaticPart(const SparseCall& call, const RetrievalOutputs& out, const RetrievalOptions& options)
        : call_(&call), out_(&out), request_(call.request()) {
        request_.masks = {Causal{} && (Window{options.window - 1, 0} || Global{options.sink})};
        request_.values = out.o_static.data != nullptr;
        if (wanted())
            attention::check_tensors(call.function, call.q, call.kv, request_.values ? &out.o_static : nullptr,
                                     out.lse_static, {});
    }

    void run() const {
        if (wanted())
            attention::plan(request_, *call_->context).run(call_->q, call_->kv, out_->o_static, out_->lse_static);
    }

private:
    bool wanted() const { return request_.values || out_->lse_static; }

    const SparseCall* call_;
    const RetrievalOutputs* out_;
    attention::Request request_;
};

inline void select_retrieval(const RetrievalInputs& x, KeyLists& lists, const RetrievalOptions& options,
                             Context& context) {
    check_retrieval(x, options);
    const std::int64_t keys = x.kv.length(0);
    select::Request r{.function = "retrieval", .q = x.q, .keys = x.kv, .heads = x.q.heads};
    r.visible_keys = r.units = {.count = keys, .begin = options.sink, .shift = 1 - options.window};
    r.top = std::max<std::int64_t>(options.top_k, 1);
    r.q_offset = keys - x.q.tokens;
    r.cache_keys = keys;
    r.others = true;
    select::check(r);
    if (options.top_k == 0 || options.read_found) return lists_without_search(x, lists, options);
    select::run(r, lists, context);
}

}  // namespace detail

ATTENTA_INLINE void retrieval_lists(const RetrievalInputs& x, KeyLists& lists, const RetrievalOptions& options,
                                    Context& context) {
    detail::check_selection("retrieval", InputList(x), x.q, x.kv);
    detail::select_retrieval(x, lists, options, context);
}

ATTENTA_INLINE void retrieval(const RetrievalInputs& x, const RetrievalOutputs& out, const RetrievalOptions& options,
                              Context& context) {
    const auto call = detail::check_sparse("retrieval", x, out, options, Positions::last, context);
    detail::check_retrieval(x, options);
    if (out.recall && !x.found.data) fail("retrieval", "found is null, needs keys whose recall is wanted");
    if (out.o_static.data || out.lse_static || out.recall) {
        detail::FurtherOutputs further(call, InputList(x));
        further.add("o_static", out.o_static);
        further.add("lse_static", hnd(out.lse_static, x.q.heads, x.q.tokens, 1));
        further.add("recall", hnd(out.recall, x.q.heads, x.q.tokens, 1));
    }
    const detail::StaticPart part(call, out, options);
    detail::CallLists lists(call);
    detail::select_retrieval(x, *lists, options, context);
    if (out.recall) {
        RetrievalOptions exact = options;
        exact.read_found = false;
        KeyLists searched;
        if (options.read_found) detail::select_retrieval(x, searched, exact, context);
        detail::measure_recall(x, options.read_found ? searched : *lists, options, out.recall);
    }
    part.run();
    call.attend(*lists, Causal{});
}

ATTENTA_END
