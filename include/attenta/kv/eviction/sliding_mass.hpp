// Attention that held tokens have received from the last queries.
#pragma once

#include <attenta/kv/eviction/kernels.hpp>
#include <attenta/kv/eviction/policy.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace eviction {

/// sum_h[j] = Σ over the last `window` queries of the weight that they gave token j, combined over the query heads of a
/// group. Query i has row i mod window. Nothing is ever subtracted, so that a small sum is exact after a large one, too:
/// when the rows begin anew, each becomes the sum of itself and those behind it, and the window's sum is from then on that
/// of the queries since, plus the first row that they have not taken yet. Time O(n) per step on average.
class SlidingMass {
public:
    explicit SlidingMass(std::int64_t window, GroupScore group = GroupScore::mean)
        : window_(std::min<std::int64_t>(window, std::numeric_limits<std::int32_t>::max())), group_(group) {}

    /// Of the policy's columns the first: the result, then for each sum of its own that since the rows began, and the rows.
    std::int64_t columns(const EvictionShape& shape) const { return 1 + sums(shape) * (window_ + 1); }

    /// Of the prompt's queries, later of the newest one. Needs EvictionNeeds::weights.
    void add(const EvictionMoment& now, std::span<const HeldTokens> heads) const {
        const std::int64_t newest = (now.seen - 1) % window_;
        if (now.prompt) add_prompt(now, heads, newest);
        for (const HeldTokens& held : heads) {
            if (!now.prompt) add_newest(now, held, newest);
            combine(held, sums(now.shape), newest);
        }
    }

    /// [held.size()] by slot.
    const float* of(const HeldTokens& held) const { return held.column(0); }

private:
    /// The mean and the sum of a group are taken at once, its maximum is one of sums.
    std::int64_t sums(const EvictionShape& shape) const { return group_ == GroupScore::max ? shape.group() : 1; }
    float* since(const HeldTokens& held, std::int64_t sum) const { return held.column(1 + sum * (window_ + 1)); }
    float* row(const HeldTokens& held, std::int64_t sum, std::int64_t r) const {
        return held.column(2 + sum * (window_ + 1) + r);
    }
    static void add_to(float* to, const float* from, std::int64_t n, float factor = 1.f) {
        eviction_kernels().sum_rows(from, 0, 1, factor, true, to, n);
    }
    void add_weights(const HeldTokens& held, std::int64_t group, std::int64_t head, std::int64_t r,
                     const float* weights) const {
        add_to(row(held, group_ == GroupScore::max ? head : 0, r), weights, held.size(),
               group_ == GroupScore::mean ? 1.f / static_cast<float>(group) : 1.f);
    }
    void sum_backwards(const HeldTokens& held, std::int64_t sum, std::int64_t first) const {
        for (std::int64_t r = window_ - 2; r >= first; --r)
            add_to(row(held, sum, r), row(held, sum, r + 1), held.size());
    }

    /// Rows up to the newest query's are of those since the rows began.
    void add_prompt(const EvictionMoment& now, std::span<const HeldTokens> heads, std::int64_t newest) const {
        const std::int64_t group = now.shape.group(), count = std::min(window_, now.seen);
        now.attention->rows(now.seen - count, count,
                            [&](std::int64_t head, std::int64_t query, std::span<const float> weights) {
                                add_weights(heads[static_cast<std::size_t>(head / group)], group, head % group,
                                            query % window_, weights.data());
                            });
        for (const HeldTokens& held : heads)
            for (std::int64_t s = 0; s < sums(now.shape); ++s) {
                for (std::int64_t r = 0; r <= newest; ++r) add_to(since(held, s), row(held, s, r), held.size());
                sum_backwards(held, s, newest + 1);
            }
    }
    void add_newest(const EvictionMoment& now, const HeldTokens& held, std::int64_t newest) const {
        const std::int64_t n = held.size(), group = now.shape.group();
        for (std::int64_t s = 0; s < sums(now.shape); ++s) {
            if (newest == 0) {
                sum_backwards(held, s, 0);
                std::fill_n(since(held, s), n, 0.f);
            }
            std::fill_n(row(held, s, newest), n, 0.f);
        }
        for (std::int64_t h = 0; h < group; ++h) add_weights(held, group, h, newest, now.newest(held.head * group + h));
        for (std::int64_t s = 0; s < sums(now.shape); ++s) add_to(since(held, s), row(held, s, newest), n);
    }
    void combine(const HeldTokens& held, std::int64_t sums, std::int64_t newest) const {
        float* const result = held.column(0);
        for (std::int64_t s = 0; s < sums; ++s) {
            const float *const now = since(held, s), *const before = row(held, s, std::min(newest + 1, window_ - 1));
            for (std::int64_t i = 0; i < held.size(); ++i) {
                const float all = now[i] + (newest + 1 < window_ ? before[i] : 0.f);
                result[i] = s == 0 ? all : std::max(result[i], all);
            }
        }
    }

    std::int64_t window_;
    GroupScore group_;
};

}  // namespace eviction

ATTENTA_END
