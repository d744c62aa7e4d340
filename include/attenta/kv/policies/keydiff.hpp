// KeyDiff drops the keys that look most like the others. Park et al. 2025, "KeyDiff: Key Similarity-Based KV Cache Eviction for
// Long-Context LLM Inference in Resource-Constrained Environments".
//
//   score = −cos(k_j, Σ_i k_i/‖k_i‖)   over all held tokens i, norms at least 1e-12
//
// Sums of D numbers per head follow tokens as they come and go; in double they stay exact for any length of text. A step changes
// no cosine by more than the sum has moved, so that where one token has to go, most of them are known to be others: time O(n), and
// O(D) for each that may be the one; all n products otherwise. Two floats per token. The paper evicts block by block within the
// prompt, here it is once after it.
#pragma once

#include <attenta/kv/eviction/fixed_scores.hpp>

#include <vector>

ATTENTA_BEGIN

using KeydiffOptions = RecentOptions;

class Keydiff final : public EvictionPolicy {
public:
    using Options = KeydiffOptions;
    explicit Keydiff(const KeydiffOptions& options = {}) : options_(options) {}

    EvictionNeeds needs(const EvictionShape& shape) override;
    void arrive(const HeldTokens& held, std::int64_t slot, const float* k, const float* v) override;
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override;
    void leave(const HeldTokens& held, std::span<const std::int32_t> gone, KvCache& cache) override;

private:
    void add(const HeldTokens& held, std::int64_t slot, double sign);
    void score_all(const EvictionMoment& now, std::span<const HeldTokens> heads);
    bool score_the_lowest(const HeldTokens& held, float* scores);
    double moved(std::int64_t head) const;

    KeydiffOptions options_;
    EvictionShape shape_;
    std::vector<double> sums_;          ///< [Hkv, D] of k/‖k‖
    std::vector<double> judged_;        ///< the same when tokens were judged last
    std::vector<float> anchors_, key_;  ///< the sums as floats; a row
    std::vector<float> scores_;         ///< [Hkv, fullest head] by slot
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/policies/keydiff.inl>
#endif
