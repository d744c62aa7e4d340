#pragma once

#include <attenta/sparse/retrieval/knn_memory.hpp>

#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// What check_sparse has not seen of the memory.
inline void check_memory_cache(const SparseCall& call, const KvView& memory, const KnnMemoryOptions& options) {
    if (memory.length(0) < 1) fail(call.function, "mem_k has no tokens, needs at least one");
    attention::Request r = call.request();
    r.kv = memory;
    attention::check(r);
    attention::check_tensors(call.function, call.q, memory, &call.out.o, call.out.lse);
    if (!options.check_data) return;
    check_rows(call.function, "mem_k", memory, false);
    check_rows(call.function, "mem_v", memory, true);
}

inline void check_knn_memory(const KnnMemoryInputs& x, const KnnMemoryOptions& options) {
    if (x.memory.sequences != 1)
        fail("knn_memory", "the memory has " + std::to_string(x.memory.sequences) + " sequences, needs one");
    require_at_least("knn_memory", "top_k", options.top_k.value_or(0), 0);
}

}  // namespace detail

ATTENTA_INLINE void knn_memory_lists(const KnnMemoryInputs& x, KeyLists& lists, const KnnMemoryOptions& options,
                                     Context& context) {
    detail::check_selection("knn_memory", InputList(x), x.q, x.kv);
    detail::check_knn_memory(x, options);
    const std::int64_t keys = x.memory.length(0);
    if (!options.top_k || *options.top_k == 0) {  // one list for all
        lists.reset({.queries = x.q.tokens, .keys = keys, .query_block = x.q.tokens});
        if (!options.top_k) lists.add(0, keys);
        return lists.end_list();
    }
    select::Request r{.function = "knn_memory", .q = x.q, .keys = x.memory, .heads = x.q.heads};
    r.visible_keys = r.units = {.count = keys, .causal = false};
    r.top = *options.top_k;
    r.cache_keys = keys;
    select::check(r);
    select::run(r, lists, context);
}

ATTENTA_INLINE void knn_memory(const KnnMemoryInputs& x, const SparseOutputs& out, const KnnMemoryOptions& options,
                               Context& context) {
    detail::check_knn_memory(x, options);
    const auto call = detail::check_sparse("knn_memory", x, out, options, Positions::last, context);
    detail::check_memory_cache(call, x.memory, options);
    detail::CallLists lists(call);
    knn_memory_lists(x, *lists, options, context);
    detail::SparseParts parts(call, 2);
    attention::Request local = parts.request(), memory = parts.request();
    local.masks.push_back(Causal{});
    parts.add(local);
    memory.kv = x.memory;
    memory.lists = {&*lists, 1};
    parts.add(memory);
    parts.merge();
}

ATTENTA_END
