// Attention of the newest query, after the prompt as after each token.
#pragma once

#include <attenta/kv/eviction/policy.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace eviction {

/// Needs EvictionNeeds::weights.
class NewestWeights {
public:
    void update(const EvictionMoment& now) {
        rows_ = now.weights;
        stride_ = now.weights_stride;
        if (!now.prompt) return;
        stride_ = now.seen;
        of_prompt_.resize(static_cast<std::size_t>(now.shape.query_heads * stride_));
        now.attention->rows(now.seen - 1, 1, [&](std::int64_t head, std::int64_t, std::span<const float> weights) {
            std::copy(weights.begin(), weights.end(), of_prompt_.data() + head * stride_);
        });
        rows_ = of_prompt_.data();
    }
    /// Of a query head, by slot; those of the next one follow at stride().
    const float* of(std::int64_t head) const { return rows_ + head * stride_; }
    std::int64_t stride() const { return stride_; }

private:
    const float* rows_ = nullptr;
    std::int64_t stride_ = 0;
    std::vector<float> of_prompt_;
};

}  // namespace eviction

ATTENTA_END
