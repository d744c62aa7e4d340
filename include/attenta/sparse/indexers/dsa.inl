#pragma once

#include <attenta/sparse/further_outputs.hpp>
#include <attenta/sparse/indexers/dsa.hpp>

ATTENTA_BEGIN

namespace detail {

inline void select_dsa(const DsaInputs& x, KeyLists& lists, const DsaOptions& options, Context& context,
                       float* index_score) {
    require_at_least("dsa", "top_k", options.top_k, 1);
    const std::int64_t keys = x.kv.length(0);
    select::Request r{.function = "dsa", .q = x.q_idx, .keys = keys_of(x.k_idx), .weights = x.w_idx, .relu = true};
    r.visible_keys = r.units = {.count = keys, .shift = 1};
    r.top = options.top_k;
    r.q_offset = keys - x.q.tokens;
    r.cache_keys = keys;
    r.scores = index_score;
    select::check(r);
    select::run(r, lists, context);
}

}  // namespace detail

ATTENTA_INLINE void dsa_lists(const DsaInputs& x, KeyLists& lists, const DsaOptions& options, Context& context,
                              float* index_score) {
    detail::check_selection("dsa", InputList(x), x.q, x.kv);
    detail::select_dsa(x, lists, options, context, index_score);
}

ATTENTA_INLINE void dsa(const DsaInputs& x, const DsaOutputs& out, const DsaOptions& options, Context& context) {
    const auto call = detail::check_sparse("dsa", x, out, options, Positions::last, context);
    if (out.index_score)
        detail::FurtherOutputs(call, InputList(x)).add("index_score", hnd(out.index_score, 1, x.q.tokens, call.keys()));
    detail::CallLists lists(call);
    detail::select_dsa(x, *lists, options, context, out.index_score);
    call.attend(*lists, Causal{});
}

ATTENTA_END
