// Ada-KV shares the budget of a layer out over its heads: those whose scores are the best of the layer keep more. Feng
// et al. 2024, "Ada-KV: Optimizing KV Cache Eviction by Adaptive Budget Allocation for Efficient LLM Inference",
// algorithms 1 and 2.
//
//   blend      of the Hkv·(B − w) best scores n_g are head g's, which keeps round((1 − floor)·n_g + ⌊floor·(B − w)⌋) tokens
//   safeguard  each head keeps its ⌊floor·B⌋ − w best; the best of all others fill the layer up to Hkv·B
//
// and the window. Scores are SnapKV's, w its window; nothing is evicted in decoding. Time O(window·P·D) after the prompt;
// nothing is kept.
#pragma once

#include <attenta/kv/eviction/window_scores.hpp>

#include <vector>

ATTENTA_BEGIN

enum class AdaKvAllocation : std::uint8_t { blend, safeguard };
constexpr auto names_of(AdaKvAllocation) { return std::to_array<std::string_view>({"blend", "safeguard"}); }

struct AdaKvOptions : WindowOptions {
    std::int64_t budget = 1024;  ///< tokens kept per K/V head, the mean of the layer
    double floor = 0.2;          ///< of the budget what every head gets, 0 to 1
    AdaKvAllocation allocation = AdaKvAllocation::blend;
    bool normalize = false;  ///< blend counts scores times the share that a head's B − w best have of its sum

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head, the mean of the layer");
        WindowOptions::fields(visit, o);
        visit("floor", o.floor, "of the budget what every head gets, 0 to 1");
        visit("allocation", o.allocation, "blend (floor and share are added) or safeguard (the best of the rest)");
        visit("normalize", o.normalize, "blend counts scores times how concentrated those of a head are");
    }
};

class AdaKv final : public EvictionPolicy {
public:
    using Options = AdaKvOptions;
    explicit AdaKv(const AdaKvOptions& options = {}) : options_(options), scores_(options) {}

    EvictionNeeds needs(const EvictionShape& shape) override;
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override;

private:
    std::vector<std::int64_t> blended(std::int64_t heads) const;
    std::vector<std::int64_t> safeguarded(std::int64_t heads) const;

    AdaKvOptions options_;
    eviction::WindowScores scores_;
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/policies/ada_kv.inl>
#endif
