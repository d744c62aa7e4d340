#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/kv/eviction/head_shares.hpp>
#include <attenta/kv/eviction/kernels.hpp>
#include <attenta/kv/policies/defensive_kv.hpp>

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>

ATTENTA_BEGIN

ATTENTA_INLINE EvictionNeeds DefensiveKv::needs(const EvictionShape& shape) {
    const char* const f = "defensive_kv";
    eviction::check_window(f, {.window = options_.window, .kernel = options_.kernel}, options_.budget);
    if (!is_finite(static_cast<float>(options_.protect)))
        fail(f, "protect is " + std::to_string(options_.protect) + ", needs a finite number");
    if (std::ssize(value_norm_) % shape.kv_heads != 0)
        fail(f, "value_norm has " + std::to_string(value_norm_.size()) + " numbers, needs a multiple of the " +
                    std::to_string(shape.kv_heads) + " K/V heads");
    for (const float n : value_norm_)
        if (!is_finite(n) || n < 0) fail(f, "value_norm has " + std::to_string(n) + ", needs finite numbers from 0 on");
    return {};
}

ATTENTA_INLINE void DefensiveKv::judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
                                       std::span<EvictionChoice> choices) {
    const std::int64_t P = now.seen, window = options_.window, m = P - window, Hkv = now.shape.kv_heads;
    if (!now.prompt || P <= options_.budget) return;
    const double recent_mass = look(now, m);
    if (!value_norm_.empty()) {
        weigh(Hkv, P, m);
        for (std::int64_t g = 0; g < Hkv; ++g) protect(g, P, m, options_.protect - recent_mass);
    }
    const std::int64_t each = options_.budget - window;
    std::vector<std::int64_t> shares(heads.size(), each);
    if (options_.allocation == DefensiveAllocation::layer) {
        std::vector<std::span<const float>> scores;
        for (std::int64_t g = 0; g < Hkv; ++g) scores.emplace_back(scores_.data() + g * P, static_cast<std::size_t>(m));
        shares = eviction::head_shares("defensive_kv", scores, Hkv * each);
    }
    for (std::size_t g = 0; g < shares.size(); ++g)
        choices[g] = {
            .scores = scores_.data() + static_cast<std::int64_t>(g) * P, .keep = window + shares[g], .recent = window};
}

/// Scores by attention alone, of the tokens before the window; after the prompt slots are positions. Returns what the
/// queries of the window give, on average, to the last `window` tokens before it.
ATTENTA_INLINE double DefensiveKv::look(const EvictionMoment& now, std::int64_t before) {
    const std::int64_t P = now.seen, window = options_.window, group = now.shape.group();
    scores_.assign(static_cast<std::size_t>(now.shape.kv_heads * P), 0.f);
    means_.assign(value_norm_.empty() ? 0 : scores_.size(), 0.f);
    const float share = 1.f / static_cast<float>(window * group);
    double recent_mass = 0;
    std::vector<float> row, smooth;
    now.attention->rows(before, window, [&](std::int64_t head, std::int64_t, std::span<const float> weights) {
        row.assign(weights.begin(), weights.begin() + before);
        eviction::pool(row, options_.kernel, Pooling::avg, smooth);
        const double mass = std::accumulate(row.begin(), row.end(), 0.),
                     smooth_mass = std::accumulate(smooth.begin(), smooth.end(), 0.);
        if (!is_finite(static_cast<float>(mass)))
            fail("defensive_kv", "attention of query head " + std::to_string(head) + " is NaN, needs finite q and k");
        const auto factor = static_cast<float>(smooth_mass > 0 ? mass / smooth_mass : 0);
        float* const most = scores_.data() + head / group * P;
        for (std::size_t j = 0; j < row.size(); ++j) most[j] = std::max(most[j], factor * smooth[j]);
        if (means_.empty()) return;
        eviction::eviction_kernels().sum_rows(row.data(), 0, 1, share, true, means_.data() + head / group * P,
                                              std::ssize(row));
        recent_mass = std::accumulate(row.end() - std::min(window, before), row.end(), recent_mass);
    });
    for (std::int64_t g = 0; g < now.shape.kv_heads; ++g) {
        float* const s = scores_.data() + g * P;
        const auto floor = static_cast<float>(std::accumulate(s, s + before, 0.) / static_cast<double>(before));
        for (std::int64_t j = 0; j < before; ++j) s[j] = std::max(s[j], floor);
    }
    return recent_mass / static_cast<double>(window * now.shape.query_heads);
}

/// Scores times the share that a head's value has of the values of a token.
ATTENTA_INLINE void DefensiveKv::weigh(std::int64_t heads, std::int64_t tokens, std::int64_t before) {
    if (std::ssize(value_norm_) < tokens * heads)
        fail("defensive_kv", "value_norm is of " + std::to_string(std::ssize(value_norm_) / heads) +
                                 " tokens, needs the " + std::to_string(tokens) + " of the prompt");
    for (std::int64_t j = 0; j < before; ++j) {
        const float* const norms = value_norm_.data() + j * heads;
        const double sum = std::accumulate(norms, norms + heads, 0.);
        if (!(sum > 0))
            fail("defensive_kv", "value_norm of token " + std::to_string(j) + " is 0 in all heads, needs more in one");
        for (std::int64_t g = 0; g < heads; ++g)
            scores_[static_cast<std::size_t>(g * tokens + j)] *= static_cast<float>(double{norms[g]} / sum);
    }
}

/// The tokens with the most attention get infinity, while their shares add up to less than a bound.
ATTENTA_INLINE void DefensiveKv::protect(std::int64_t head, std::int64_t tokens, std::int64_t before,
                                         double less_than) {
    const float* const mean = means_.data() + head * tokens;
    const double all = std::accumulate(mean, mean + before, 0.);
    std::vector<std::int64_t> order(static_cast<std::size_t>(before));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::int64_t a, std::int64_t b) { return mean[a] != mean[b] ? mean[a] > mean[b] : a > b; });
    double sum = 0;
    std::size_t count = 0;
    while (count < order.size() && (sum += double{mean[order[count]]} / all) < less_than) ++count;
    if (count == order.size()) return;  // the sum never gets there
    count = std::min(count, static_cast<std::size_t>(options_.budget - options_.window));
    for (std::size_t i = 0; i < count; ++i)
        scores_[static_cast<std::size_t>(head * tokens + order[i])] = std::numeric_limits<float>::infinity();
}

ATTENTA_END
