#pragma once

#include <attenta/sparse/patterns/fixed.hpp>
#include <attenta/sparse/patterns/parts.hpp>

#include <algorithm>
#include <string>

ATTENTA_BEGIN

namespace detail {

struct FixedColumns {
    std::int64_t stride, c, verts;

    /// Places of a head's summary in a block.
    Interval places(std::int64_t head) const {
        const std::int64_t g = head % verts;
        return {stride - (g + 1) * c, stride - g * c};
    }
    bool operator()(std::int64_t head, std::int64_t, std::int64_t j) const {
        const Interval p = places(head);
        return j % stride >= p.begin && j % stride < p.end;
    }
};

/// Throws Error.
inline LocalAndColumns<Chunks, FixedColumns> fixed_pattern(const FixedOptions& options) {
    require_at_least("fixed", "stride", options.stride, 1);
    if (options.pattern > FixedPattern::alternate)
        fail("fixed", "pattern is " + std::to_string(static_cast<int>(options.pattern)) +
                          ", needs merged, local, summary or alternate");
    require_at_least("fixed", "c", options.c, 1);
    require_at_least("fixed", "verts", options.verts, 1);
    if (saturating::multiply(options.verts, options.c) > options.stride)
        fail("fixed", "verts is " + std::to_string(options.verts) + " with c " + std::to_string(options.c) +
                          ", needs at most stride / c of stride " + std::to_string(options.stride));
    return {static_cast<PatternParts>(options.pattern),
            options.causal,
            {options.stride, 0, options.causal},
            {options.stride, options.c, options.verts}};
}

/// A list of each head's summaries for all queries.
inline KeyLists fixed_lists(const SparseCall& call, const FixedColumns& columns, bool odd) {
    const std::int64_t keys = call.keys(), heads = odd || columns.verts > 1 ? call.q.heads : 1;
    KeyLists lists({.heads = heads, .queries = call.q.tokens, .keys = keys, .query_block = call.q.tokens});
    for (std::int64_t h = 0; h < heads; ++h) {
        const Interval places = columns.places(h);
        for (std::int64_t block = 0; block < keys && (!odd || h % 2 != 0); block += columns.stride) {
            const std::int64_t first = std::min(block + places.begin, keys);
            lists.add(first, std::min(block + places.end, keys) - first);
        }
        lists.end_list();
    }
    return lists;
}

}  // namespace detail

ATTENTA_INLINE Mask fixed_mask(const FixedOptions& options) { return detail::fixed_pattern(options); }

ATTENTA_INLINE void fixed(const FixedInputs& x, const SparseOutputs& out, const FixedOptions& options,
                          Context& context) {
    const auto call = detail::check_sparse("fixed", x, out, options, Positions::last, context);
    const auto pattern = detail::fixed_pattern(options);
    detail::attend(call, pattern.parts, pattern.causal, pattern.local,
                   [&](bool odd) { return detail::fixed_lists(call, pattern.columns, odd); });
    const bool shared = pattern.parts != detail::PatternParts::alternate && options.verts == 1;
    detail::give_lists(call, pattern, shared ? 1 : call.q.heads);
}

ATTENTA_END
