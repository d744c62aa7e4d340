// A layer's budget shared out over its heads, in double precision.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <tuple>
#include <vector>

#include "policy.hpp"

namespace attenta_test {

/// How many of the n best scores of all heads are each head's; of equal ones the later token, then the higher head is
/// better.
inline std::vector<std::int64_t> naive_shares(const NaiveCache& c, const std::vector<std::vector<double>>& scores,
                                              std::int64_t n) {
    std::vector<std::tuple<double, std::int64_t, std::int64_t>> all;
    for (std::int64_t g = 0; g < std::ssize(scores); ++g)
        for (std::int64_t j = 0; j < std::ssize(scores[NaiveCache::u(g)]); ++j)
            all.emplace_back(scores[NaiveCache::u(g)][NaiveCache::u(j)], j, g);
    std::sort(all.begin(), all.end(), std::greater<>());
    if (n > 0 && n < std::ssize(all))
        c.note(std::get<0>(all[NaiveCache::u(n - 1)]), std::get<0>(all[NaiveCache::u(n)]));
    std::vector<std::int64_t> shares(scores.size());
    for (std::int64_t i = 0; i < n; ++i) ++shares[NaiveCache::u(std::get<2>(all[NaiveCache::u(i)]))];
    return shares;
}

}  // namespace attenta_test
