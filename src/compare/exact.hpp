// Exact attention on the source's tensors: what approximations are held against.
#pragma once

#include <cstdint>
#include <vector>

#include "source.hpp"

namespace compare {

/// Of the last `queries` of the first `context` tokens.
struct ExactAttention {
    Block o;                 ///< [Hq, queries, Dv]
    std::vector<float> lse;  ///< [Hq, queries]
};
ExactAttention exact_attention(const Source& source, std::int64_t context, std::int64_t queries, bool causal);

/// Causal weights of the first `context` tokens, [Hq, context, context]. Throws attenta::Error where they are too many for
/// the memory.
Block exact_weights(const Source& source, std::int64_t context);

}  // namespace compare
