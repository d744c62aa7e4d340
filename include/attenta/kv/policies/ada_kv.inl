#pragma once

#include <attenta/core/error.hpp>
#include <attenta/kv/eviction/head_shares.hpp>
#include <attenta/kv/policies/ada_kv.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// Scores times the share that the n best have of their sum.
inline std::vector<float> concentrated(std::span<const float> scores, std::int64_t n) {
    std::vector<float> weighted(scores.begin(), scores.end());
    std::nth_element(weighted.begin(), weighted.begin() + n, weighted.end(), std::greater<>());
    const double best = std::accumulate(weighted.begin(), weighted.begin() + n, 0.),
                 all = std::accumulate(weighted.begin() + n, weighted.end(), best);
    const double share = all > 0 ? best / all : 1;
    std::transform(scores.begin(), scores.end(), weighted.begin(),
                   [&](float s) { return static_cast<float>(share * double{s}); });
    return weighted;
}

}  // namespace detail

ATTENTA_INLINE EvictionNeeds AdaKv::needs(const EvictionShape&) {
    eviction::check_window("ada_kv", options_, options_.budget);
    if (!(options_.floor >= 0 && options_.floor <= 1))
        fail("ada_kv", "floor is " + std::to_string(options_.floor) + ", needs 0 to 1");
    return {};
}

ATTENTA_INLINE void AdaKv::judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
                                 std::span<EvictionChoice> choices) {
    if (!now.prompt || now.seen <= options_.budget) return;
    scores_.update(now, heads);
    const auto shares =
        options_.allocation == AdaKvAllocation::blend ? blended(std::ssize(heads)) : safeguarded(std::ssize(heads));
    for (const HeldTokens& held : heads) {
        const auto g = static_cast<std::size_t>(held.head);
        choices[g] = {.scores = scores_.of(held.head), .keep = options_.window + shares[g], .recent = options_.window};
    }
}

/// Tokens that each head keeps before the window.
ATTENTA_INLINE std::vector<std::int64_t> AdaKv::blended(std::int64_t heads) const {
    const std::int64_t before = options_.budget - options_.window;
    std::vector<std::vector<float>> weighted;
    std::vector<std::span<const float>> scores;
    for (std::int64_t g = 0; options_.normalize && g < heads; ++g)
        weighted.push_back(detail::concentrated(scores_.ordered(g), before));
    for (std::int64_t g = 0; g < heads; ++g)
        scores.push_back(options_.normalize ? weighted[static_cast<std::size_t>(g)] : scores_.ordered(g));
    auto shares = eviction::head_shares("ada_kv", scores, heads * before);
    const double floor = std::floor(options_.floor * static_cast<double>(before));
    for (std::int64_t& n : shares)
        n = static_cast<std::int64_t>(std::nearbyint((1 - options_.floor) * static_cast<double>(n) + floor));
    return shares;
}

ATTENTA_INLINE std::vector<std::int64_t> AdaKv::safeguarded(std::int64_t heads) const {
    std::vector<std::span<const float>> scores;
    for (std::int64_t g = 0; g < heads; ++g) scores.push_back(scores_.ordered(g));
    const auto floor = static_cast<std::int64_t>(options_.floor * static_cast<double>(options_.budget));
    return eviction::head_shares("ada_kv", scores, heads * (options_.budget - options_.window),
                                 floor - options_.window);
}

ATTENTA_END
