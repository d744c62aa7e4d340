#pragma once

#include <attenta/core/error.hpp>
#include <attenta/kv/eviction/kernels.hpp>
#include <attenta/kv/eviction/window_scores.hpp>

#include <algorithm>
#include <string>

ATTENTA_BEGIN

namespace eviction {

ATTENTA_INLINE void check_budget(const char* policy, std::int64_t budget, const char* what, std::int64_t is_protected) {
    require_at_least(policy, "budget", budget, 1);
    if (is_protected < 0 || is_protected > budget)
        fail(policy, std::string(what) + (what[0] != '\0' ? " is " : "protected tokens are ") +
                         std::to_string(is_protected) + ", needs 0 to the budget of " + std::to_string(budget));
}

ATTENTA_INLINE void check_window(const char* policy, const WindowOptions& o, std::int64_t budget) {
    require_at_least(policy, "budget", budget, 1);
    if (o.window < 1 || o.window >= budget)
        fail(policy, "window is " + std::to_string(o.window) + ", needs 1 to fewer than the budget of " +
                         std::to_string(budget));
    if (o.kernel < 1 || o.kernel % 2 == 0)
        fail(policy, "kernel is " + std::to_string(o.kernel) + ", needs an odd number of tokens");
}

ATTENTA_INLINE void pool(const std::vector<float>& x, std::int64_t kernel, Pooling pooling, std::vector<float>& y) {
    const auto n = static_cast<std::int64_t>(x.size());
    const std::int64_t reach = kernel / 2;
    y.resize(x.size());
    for (std::int64_t j = 0; j < n; ++j) {
        const auto first = x.begin() + std::max<std::int64_t>(0, j - reach),
                   last = x.begin() + std::min(n, j + reach + 1);
        double sum = 0;
        for (auto i = first; pooling == Pooling::avg && i != last; ++i) sum += *i;
        y[static_cast<std::size_t>(j)] = pooling == Pooling::max
                                             ? *std::max_element(first, last)
                                             : static_cast<float>(sum / static_cast<double>(kernel));
    }
}

ATTENTA_INLINE void WindowScores::update(const EvictionMoment& now, std::span<const HeldTokens> heads) {
    const std::int64_t group = now.shape.group(), queries = std::min(options_.window, now.seen);
    stride_ = 0;
    for (const HeldTokens& held : heads) stride_ = std::max(stride_, held.size());
    means_.assign(static_cast<std::size_t>(now.shape.query_heads * stride_), 0.f);
    scores_.assign(static_cast<std::size_t>(now.shape.kv_heads * stride_), 0.f);
    ordered_.resize(heads.size());
    const float share = 1.f / static_cast<float>(queries);
    now.attention->rows(now.seen - queries, queries,
                        [&](std::int64_t head, std::int64_t, std::span<const float> weights) {
                            eviction_kernels().sum_rows(weights.data(), 0, 1, share, true,
                                                        means_.data() + head * stride_, std::ssize(weights));
                        });
    std::vector<float> before, pooled;
    for (const HeldTokens& held : heads) {
        const float* const means = means_.data() + held.head * group * stride_;
        const std::int64_t count = std::max<std::int64_t>(0, held.size() - queries);
        before.resize(static_cast<std::size_t>(count));
        for (std::size_t rank = 0; rank < before.size(); ++rank) {
            const std::int64_t slot = held.slots[rank];
            float combined = options_.group == GroupScore::max ? means[slot] : 0.f;
            for (std::int64_t h = 0; h < group; ++h)
                combined = options_.group == GroupScore::max ? std::max(combined, means[h * stride_ + slot])
                                                             : combined + means[h * stride_ + slot];
            before[rank] = options_.group == GroupScore::mean ? combined / static_cast<float>(group) : combined;
        }
        pool(before, options_.kernel, options_.pooling, pooled);
        for (std::size_t rank = 0; rank < pooled.size(); ++rank)
            scores_[static_cast<std::size_t>(held.head * stride_ + held.slots[rank])] = pooled[rank];
        ordered_[static_cast<std::size_t>(held.head)] = pooled;
    }
}

ATTENTA_INLINE void WindowScores::keep_best(const EvictionMoment& now, std::span<const HeldTokens> heads,
                                            std::int64_t keep, std::span<EvictionChoice> choices) {
    update(now, heads);
    for (const HeldTokens& held : heads)
        choices[static_cast<std::size_t>(held.head)] = {
            .scores = of(held.head), .keep = keep, .recent = options_.window};
}

}  // namespace eviction

ATTENTA_END
