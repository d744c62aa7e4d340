// Merging in place of dropping: a token that SnapKV would drop after the prompt goes into the kept one whose key is
// most like its own. Wan et al. 2024, "LOOK-M: Look-Once Optimization in KV Cache for Efficient Multimodal Long-Context
// Inference", 3.3 (pivot); Wang et al. 2024, "Model Tells You Where to Merge" (KVMerger; weighted, by cosine here).
//
//   r(d) = argmax over kept tokens of cos(k_d, k_r), the earliest of equals
//   pivot      x_r ← (x_r + Σ_d (x_d + x_r)/2) / (1 + |d|)                    for keys and values x alike
//   weighted   x_r ← (x_r + Σ_d ω_d x_d) / (1 + Σ_d ω_d),   ω_d = max((cos + 1)/2, 1e-6)
//
// Decoding appends and drops nothing. Time O(P·B·D) after the prompt; nothing is kept.
#pragma once

#include <attenta/kv/eviction/window_scores.hpp>

#include <vector>

ATTENTA_BEGIN

enum class KvMergeRule : std::uint8_t { pivot, weighted };
constexpr auto names_of(KvMergeRule) { return std::to_array<std::string_view>({"pivot", "weighted"}); }

struct KvMergeOptions : WindowOptions {
    std::int64_t budget = 1024;  ///< tokens kept per K/V head
    KvMergeRule merge = KvMergeRule::pivot;

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head");
        WindowOptions::fields(visit, o);
        visit("merge", o.merge, "pivot (means with the kept token) or weighted (by similarity)");
    }
};

class KvMerge final : public EvictionPolicy {
public:
    using Options = KvMergeOptions;
    explicit KvMerge(const KvMergeOptions& options = {}) : options_(options), scores_(options) {}

    EvictionNeeds needs(const EvictionShape& shape) override;
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override;
    void leave(const HeldTokens& held, std::span<const std::int32_t> gone, KvCache& cache) override;

    /// [P] of a head, after the prompt: the position that each token went into, its own if it was kept.
    std::span<const std::int32_t> into(std::int64_t head) const { return into_[static_cast<std::size_t>(head)]; }

private:
    KvMergeOptions options_;
    eviction::WindowScores scores_;
    std::vector<std::vector<std::int32_t>> into_;
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/policies/kv_merge.inl>
#endif
