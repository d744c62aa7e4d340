// Keys of large norm go first: keys that queries look at are short. Devoto et al. 2024, "A Simple and Effective L2 Norm-Based
// Strategy for KV Cache Compression".
//
//   score = −‖k_j‖₂
//
// Time O(D) per new token, one float per token.
#pragma once

#include <attenta/kv/eviction/fixed_scores.hpp>

ATTENTA_BEGIN

using KnormOptions = RecentOptions;

class Knorm final : public eviction::FixedScores {
public:
    using Options = KnormOptions;
    explicit Knorm(const KnormOptions& options = {}) : FixedScores("knorm", options) {}

private:
    float score(const HeldTokens&, std::int64_t, const float* k) const override { return -eviction::norm(k, dim()); }
};

ATTENTA_END
