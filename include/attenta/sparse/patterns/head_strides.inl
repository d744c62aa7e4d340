#pragma once

#include <attenta/sparse/patterns/head_strides.hpp>
#include <attenta/sparse/patterns/parts.hpp>

#include <algorithm>
#include <string>

ATTENTA_BEGIN

ATTENTA_INLINE void head_strides_lists(const HeadStridesInputs& x, KeyLists& lists, const HeadStridesOptions& options) {
    const std::int64_t keys = x.kv.length(0), s = options.stride;
    if (s < 1 || s > keys)
        fail("head_strides", "stride is " + std::to_string(s) + ", needs 1 to the " + std::to_string(keys) + " keys");
    if (options.mode > HeadStridesMode::block)
        fail("head_strides", "mode is " + std::to_string(static_cast<int>(options.mode)) + ", needs stride or block");
    const std::int64_t run = (keys - 1) / s + 1;
    lists.reset({.heads = x.q.heads, .queries = x.q.tokens, .keys = keys, .query_block = x.q.tokens});
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        const std::int64_t share = h % s, first = share * run;
        if (options.mode == HeadStridesMode::stride) {
            for (std::int64_t j = share; j < keys; j += s) lists.add(j, 1);
        } else {
            if (first >= keys)
                fail("head_strides", "stride is " + std::to_string(s) + " and leaves head " + std::to_string(h) +
                                         " without any of the " + std::to_string(keys) + " keys, needs one at least");
            lists.add(first, std::min(run, keys - first));
        }
        lists.end_list();
    }
}

ATTENTA_INLINE void head_strides(const HeadStridesInputs& x, const SparseOutputs& out,
                                 const HeadStridesOptions& options, Context& context) {
    const auto call = detail::check_sparse("head_strides", x, out, options, Positions::none, context);
    detail::CallLists lists(call);
    head_strides_lists(x, *lists, options);
    call.attend(*lists);
}

ATTENTA_END
