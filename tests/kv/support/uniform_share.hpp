// What a query would give to each token if it gave all the same, in double precision.
#pragma once

#include <attenta/kv/eviction/vote_window.hpp>

#include <cstdint>

#include "policy.hpp"

namespace attenta_test {

/// A_h[i, j] >= 1/n, n the tokens that query i had seen or attended to; notes how clear that is.
inline bool gives_its_share(const NaiveCache& c, attenta::UniformShare uniform, std::int64_t h, std::int64_t i,
                            std::int64_t j) {
    const std::int64_t n = uniform == attenta::UniformShare::seen ? i + 1 : c.count[NaiveCache::u(h)][NaiveCache::u(i)];
    const double share = 1 / static_cast<double>(n);
    c.note(c.a(h, i, j), share, 1e-6);
    return c.a(h, i, j) >= share;
}

}  // namespace attenta_test
