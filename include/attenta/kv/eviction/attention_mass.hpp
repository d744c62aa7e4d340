// Attention that held tokens have received from all queries so far.
#pragma once

#include <attenta/kv/eviction/kernels.hpp>
#include <attenta/kv/eviction/policy.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace eviction {

/// acc_h[j] = Σ over all queries so far of the weight that they gave token j, combined over the query heads of a group. In
/// the policy's first columns: one, or for the largest of a group one per query head and their maximum.
class AttentionMass {
public:
    explicit AttentionMass(GroupScore group = GroupScore::mean) : group_(group) {}

    std::int64_t columns(const EvictionShape& shape) const { return group_ == GroupScore::max ? shape.group() + 1 : 1; }

    /// Of the prompt's queries, later of the newest one.
    void add(const EvictionMoment& now, std::span<const HeldTokens> heads) {
        const float* weights = now.weights;
        std::int64_t stride = now.weights_stride;
        if (now.prompt) {
            stride = heads[0].size();
            sums_.resize(static_cast<std::size_t>(now.shape.query_heads * stride));
            now.attention->sums(sums_.data(), stride);
            weights = sums_.data();
        }
        for (const HeldTokens& held : heads)
            add(held, weights + held.head * now.shape.group() * stride, stride, now.shape.group());
        if (now.prompt) sums_ = {};
    }

    /// [held.size()] by slot.
    float* of(const HeldTokens& held, const EvictionShape& shape) const { return held.column(columns(shape) - 1); }
    /// Of one query head of the group; with GroupScore::max.
    const float* of_head(const HeldTokens& held, std::int64_t head) const { return held.column(head); }

private:
    void add(const HeldTokens& held, const float* weights, std::int64_t stride, std::int64_t group) const {
        const std::int64_t n = held.size();
        if (group_ != GroupScore::max) {
            const float factor = group_ == GroupScore::mean ? 1.f / static_cast<float>(group) : 1.f;
            return eviction_kernels().sum_rows(weights, stride, group, factor, true, held.column(0), n);
        }
        float* const top = held.column(group);
        std::fill_n(top, n, 0.f);
        for (std::int64_t h = 0; h < group; ++h) {
            float* const to = held.column(h);
            for (std::int64_t i = 0; i < n; ++i) {
                to[i] += weights[h * stride + i];
                top[i] = std::max(top[i], to[i]);
            }
        }
    }

    GroupScore group_;
    std::vector<float> sums_;  ///< of the prompt
};

}  // namespace eviction

ATTENTA_END
