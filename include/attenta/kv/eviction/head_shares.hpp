// The budget of a layer, shared out over its heads.
#pragma once

#include <attenta/core/config.hpp>

#include <cstdint>
#include <span>
#include <vector>

ATTENTA_BEGIN

namespace eviction {

/// How many tokens of each head are among the n best of a layer, where the `least` best of every head are in any case.
/// scores [heads], of a head's tokens in the order of their positions; of equal ones the later token, then the higher
/// head is better. Throws Error on NaN.
std::vector<std::int64_t> head_shares(const char* policy, std::span<const std::span<const float>> scores,
                                      std::int64_t n, std::int64_t least = 0);

}  // namespace eviction

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/eviction/head_shares.inl>
#endif
