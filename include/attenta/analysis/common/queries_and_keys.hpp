// The checks of q and k whose scores a read-out reads.
#pragma once

#include <attenta/analysis/common/check.hpp>
#include <attenta/engine/common/scale.hpp>

#include <cstdint>
#include <optional>
#include <string>

ATTENTA_BEGIN

namespace analysis {

/// Throws Error unless every K/V head has equally many query heads, causal queries have a key each, and the scale is finite;
/// returns it.
inline float check_scores(const Check& check, Heads<const float> q, Heads<const float> k, bool causal,
                          const std::optional<float>& scale) {
    if (q.heads % k.heads != 0)
        check.refuse("q has " + checks::text(q.heads) + " heads, needs a multiple of the " + checks::text(k.heads) +
                     " of k");
    if (causal && q.tokens > k.tokens)
        check.refuse("q has " + checks::text(q.tokens) + " tokens, causal needs at most the " + checks::text(k.tokens) +
                     " of k");
    if (scale) check.finite("scale", double{*scale});
    check.scratch("the scores of a query", q.heads, k.tokens, 1);
    return attenta::detail::scale_or_default(scale, q.dim);
}

}  // namespace analysis

ATTENTA_END
