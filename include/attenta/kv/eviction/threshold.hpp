// Tokens that a threshold drops, however many they are.
#pragma once

#include <attenta/kv/eviction/policy.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace eviction {

/// All tokens with a score below the threshold go but the newest `recent` and those at positions below `sink`.
inline EvictionChoice keep_from(float threshold, const HeldTokens& held, const float* scores, std::int64_t recent = 0,
                                std::int64_t sink = 0) {
    const std::int64_t first_recent = held.newest(recent);
    std::int64_t gone = 0;
    for (std::size_t i = 0; i < held.positions.size(); ++i)
        gone += scores[i] < threshold && held.positions[i] >= sink && held.positions[i] < first_recent ? 1 : 0;
    return {.scores = scores, .keep = held.size() - gone, .sink = sink, .recent = recent};
}

}  // namespace eviction

ATTENTA_END
