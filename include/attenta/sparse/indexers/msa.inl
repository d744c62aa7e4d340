#pragma once

#include <attenta/sparse/indexers/msa.hpp>

#include <algorithm>
#include <string>

ATTENTA_BEGIN

namespace detail {

inline void check_msa(const MsaInputs& x, const MsaOptions& options) {
    require_at_least("msa", "block_size", options.block_size, 1);
    require_at_least("msa", "local_blocks", options.local_blocks, 0);
    require_at_least("msa", "init_blocks", options.init_blocks, 0);
    const std::int64_t forced = saturating::add(options.init_blocks, options.local_blocks);
    require_at_least("msa", "top_k", options.top_k, std::max<std::int64_t>(1, forced));
    if (x.q_idx.heads < 1 || x.q.heads % x.q_idx.heads != 0)
        fail("msa", "q_idx has " + std::to_string(x.q_idx.heads) + " heads, needs a divisor of the " +
                        std::to_string(x.q.heads) + " of q");
}

inline void select_msa(const MsaInputs& x, KeyLists& lists, const MsaOptions& options, Context& context) {
    check_msa(x, options);
    const std::int64_t keys = x.kv.length(0), size = std::min(options.block_size, std::max<std::int64_t>(keys, 1));
    select::Request r{.function = "msa", .q = x.q_idx, .keys = keys_of(x.k_idx), .heads = x.q_idx.heads};
    r.pool = size;
    r.visible_keys = {.count = keys, .shift = 1};
    r.units = {.count = blocks_of(keys, size), .unit = size, .plus = 1};
    r.top = options.top_k;
    r.first_forced = options.init_blocks;
    r.last_forced = options.local_blocks;
    r.q_offset = keys - x.q.tokens;
    r.unit_keys = size;
    r.cache_keys = keys;
    select::check(r);
    select::run(r, lists, context);
}

}  // namespace detail

ATTENTA_INLINE void msa_lists(const MsaInputs& x, KeyLists& lists, const MsaOptions& options, Context& context) {
    detail::check_selection("msa", InputList(x), x.q, x.kv);
    detail::select_msa(x, lists, options, context);
}

ATTENTA_INLINE void msa(const MsaInputs& x, const SparseOutputs& out, const MsaOptions& options, Context& context) {
    const auto call = detail::check_sparse("msa", x, out, options, Positions::last, context);
    detail::CallLists lists(call);
    detail::select_msa(x, *lists, options, context);
    const std::int64_t heads = x.q_idx.heads;
    if (heads % x.kv.heads == 0 || x.kv.heads % heads == 0) return call.attend(*lists, Causal{});
    // The engine reads lists of groups of K/V heads or of parts of a group: here it gets one for each query head.
    KeyLists::Shape shape = lists->shape();
    shape.heads = x.q.heads;
    const std::int64_t group = x.q.heads / heads, rows = shape.rows();
    const KeyLists all = lists->picked(shape, [&](std::int64_t h, std::int64_t row) { return h / group * rows + row; });
    attention::Request r = call.request();
    r.masks.push_back(Causal{});
    r.lists = {&all, 1};
    call.run(r);
}

ATTENTA_END
