// Retrieval heads keep everything, the others their first tokens and the newest ones. Xiao et al. 2024, "DuoAttention: Efficient
// Long-Context LLM Inference with Retrieval and Streaming Heads"; heads as Wu et al. 2024 find them (kv/retrieval_score.hpp).
//
//   full heads: score >= threshold, or with `sparsity` >= that quantile of all K/V heads' scores
//
// Nothing is kept beside tokens, nothing is computed.
#pragma once

#include <attenta/kv/eviction/policy.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

ATTENTA_BEGIN

struct RetrievalHeadsOptions {
    float threshold = 0.5f;                ///< score of a full head
    std::optional<double> sparsity = {};   ///< share of heads that are not full, in place of `threshold`
    std::int64_t sink = 64, recent = 256;  ///< first and newest tokens that other heads keep

    static void fields(auto&& visit, auto& o) {
        visit("threshold", o.threshold, "score of a full head");
        visit("sparsity", o.sparsity, "share of heads that are not full, in place of threshold");
        visit("sink", o.sink, "first tokens that other heads keep");
        visit("recent", o.recent, "newest tokens that other heads keep");
    }
};

/// [kv_heads] which heads are full, of head_score [Hkv] or [Hq]: a K/V head has the largest of its query heads. The quantile
/// interpolates between two scores; sparsity 1 and more: none, 0 and less: all. Throws Error on sizes that do not fit and on
/// numbers that are not finite.
std::vector<bool> full_heads(std::span<const float> head_score, const EvictionShape& shape,
                             const RetrievalHeadsOptions& options);

/// head_score [Hkv] or [Hq], borrowed until the first token.
class RetrievalHeads final : public EvictionPolicy {
public:
    using Options = RetrievalHeadsOptions;
    RetrievalHeads(std::span<const float> head_score, const RetrievalHeadsOptions& options)
        : head_score_(head_score), options_(options) {}

    EvictionNeeds needs(const EvictionShape& shape) override;
    void judge(const EvictionMoment&, std::span<const HeldTokens> heads, std::span<EvictionChoice> choices) override {
        for (const HeldTokens& held : heads)
            if (const auto g = static_cast<std::size_t>(held.head); !full_[g])
                choices[g] = {.keep = options_.sink + options_.recent, .sink = options_.sink};
    }

private:
    std::span<const float> head_score_;
    RetrievalHeadsOptions options_;
    std::vector<bool> full_;
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/policies/retrieval_heads.inl>
#endif
