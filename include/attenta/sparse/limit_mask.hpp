// What a query at a position may see of things that stand in a row, as a mask: compressed blocks, pooled entries.
#pragma once

#include <attenta/engine/mask/mask.hpp>
#include <attenta/engine/select/request.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Thing n of a cache of things stands at position n, queries where they stand among tokens.
struct LimitMask {
    select::Limit limit;

    Spans spans(const QueryRow& r) const { return {hull(r, r), {}}; }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const Interval k = keys.range();
        if (intersect(k, hull(a, b)).empty()) return Cover::none;
        return k.begin >= limit.begin && k.end <= limit.end(a.position) ? Cover::all : Cover::some;
    }
    Interval hull(const QueryRow&, const QueryRow& b) const { return {limit.begin, limit.end(b.position)}; }
};

}  // namespace detail

ATTENTA_END
