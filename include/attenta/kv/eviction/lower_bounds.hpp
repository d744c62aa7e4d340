// Scores that are known from below: where one token goes, most are known to be others.
#pragma once

#include <attenta/kv/eviction/kernels.hpp>
#include <attenta/kv/eviction/policy.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace eviction {

/// Evaluates scores[slot] = score(slot) where it may be the lowest one of the tokens at positions below `recent`. Returns false
/// where bounds are NaN, or more than `most` have to be evaluated.
template <class Score>
bool evaluate_lowest(const HeldTokens& held, std::int64_t recent, float* scores, Score&& score,
                     std::int64_t most = std::numeric_limits<std::int64_t>::max()) {
    const std::int64_t n = held.size(), first = eviction_kernels().lowest(scores, held.positions.data(), n, 0, recent);
    if (first < 0) return false;
    float least = scores[first] = score(first);
    for (std::int64_t slot = 0, count = 1; slot < n; ++slot) {
        if (slot == first || !(scores[slot] <= least)) continue;
        if (held.positions[static_cast<std::size_t>(slot)] >= recent) continue;
        if (++count > most) return false;
        least = std::min(least, scores[slot] = score(slot));
    }
    return true;
}

}  // namespace eviction

ATTENTA_END
