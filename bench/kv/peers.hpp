// Attention on the quantised caches of other libraries, each of which has a file in peers/ that makes it known.
#pragma once

#include "bench/added.hpp"

#include <attenta/core/view.hpp>

#include <cstdint>
#include <functional>
#include <string_view>

namespace bench {

/// Causal attention of the last q.tokens of the k.tokens tokens of a cache; q and o lie [token, head, dim], k and v
/// [head, token, dim], without gaps.
struct QuantProblem {
    attenta::Heads<const float> q, k, v;
    attenta::Heads<float> o;
};

struct QuantPeer {
    std::string_view library, storage;
    double bits;   ///< that a number takes, scales included
    double error;  ///< that its output may have, of the largest output of exact attention
    /// Stores keys and values, outside of the timing. A run writes o.
    std::function<void()> (*prepare)(const QuantProblem& problem);
};

}  // namespace bench
