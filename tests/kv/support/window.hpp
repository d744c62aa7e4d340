// SnapKV's scores, in double precision.
#pragma once

#include <attenta/kv/eviction/window_scores.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "policy.hpp"

namespace attenta_test {

/// y[j] = sum over |j' − j| <= kernel/2 divided by kernel, or the largest there.
inline std::vector<double> naive_pool(const std::vector<double>& x, std::int64_t kernel, attenta::Pooling how) {
    std::vector<double> y;
    for (std::int64_t j = 0; j < std::ssize(x); ++j) {
        double sum = 0, most = x[NaiveCache::u(j)];
        for (std::int64_t i = std::max<std::int64_t>(0, j - kernel / 2);
             i <= std::min(std::ssize(x) - 1, j + kernel / 2); ++i) {
            sum += x[NaiveCache::u(i)];
            most = std::max(most, x[NaiveCache::u(i)]);
        }
        y.push_back(how == attenta::Pooling::max ? most : sum / static_cast<double>(kernel));
    }
    return y;
}

/// Of the held tokens of K/V head g before the window: pool( group( mean over the window's queries of A_h[i, j] ) ).
inline std::vector<double> naive_window_scores(const NaiveCache& c, std::int64_t g, const attenta::WindowOptions& o) {
    const std::int64_t w = std::min(o.window, c.seen), held = std::ssize(c.kept[NaiveCache::u(g)]),
                       before = std::max<std::int64_t>(0, held - w);
    std::vector<std::vector<double>> means;
    for (std::int64_t h = g * c.group(); h < (g + 1) * c.group(); ++h) {
        const auto rows = c.window(h, w);
        std::vector<double>& mean = means.emplace_back(NaiveCache::u(before));
        for (const auto& row : rows)
            for (std::size_t j = 0; j < mean.size(); ++j) mean[j] += row[j] / static_cast<double>(w);
    }
    std::vector<double> s;
    for (std::int64_t j = 0; j < before; ++j)
        s.push_back(c.by_group(
            g, o.group, [&](std::int64_t h) { return means[NaiveCache::u(h - g * c.group())][NaiveCache::u(j)]; }));
    return naive_pool(s, o.kernel, o.pooling);
}

}  // namespace attenta_test
