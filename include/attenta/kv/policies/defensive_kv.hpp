// DefensiveKV is SnapKV that fears the worst: a token is worth the most that any query of the window gives it, not
// their average. Feng et al. 2026, "Taming the Fragility of KV Cache Eviction in LLM Inference", section 4.
//
//   ã_h[i, ·] = pool(a_h[i, ·]), scaled to the mass of a_h[i, ·]
//   x_g[j]    = max over the window's i and the group's h of ã_h[i, j]
//   s_g[j]    = max(x_g[j], mean of x_g)                                  before the window, which stays
//
// With value_norm n [T, Hkv], ‖W_o v‖₁ of each token (CriticalKV, Feng et al. 2025), s_g[j] · n_g[j] / Σ_g' n_g'[j]; the
// tokens with the most mean attention stay first of all, while their shares and what the window gives to its predecessors
// add up to less than `protect`. The budget is the layer's or each head's; nothing is evicted in decoding. Time
// O(window·P·D) after the prompt; nothing is kept.
#pragma once

#include <attenta/kv/eviction/window_scores.hpp>

#include <vector>

ATTENTA_BEGIN

enum class DefensiveAllocation : std::uint8_t { layer, head };
constexpr auto names_of(DefensiveAllocation) { return std::to_array<std::string_view>({"layer", "head"}); }

struct DefensiveKvOptions {
    std::int64_t budget = 1024;  ///< tokens kept per K/V head, with `layer` the mean of the layer
    std::int64_t window = 32;    ///< newest queries that score, whose tokens stay
    std::int64_t kernel = 5;     ///< odd; neighbours that a row is smoothed over, itself among them
    DefensiveAllocation allocation = DefensiveAllocation::layer;
    double protect = 0.9;  ///< of the attention what the tokens that stay in any case may have, with value_norm

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head");
        visit("window", o.window, "newest queries that score, whose tokens stay");
        visit("kernel", o.kernel, "tokens that a row of attention is smoothed over, odd");
        visit("allocation", o.allocation, "layer (the best of all heads) or head (the best of each)");
        visit("protect", o.protect, "share of the attention that is kept in any case, with value_norm");
    }
};

class DefensiveKv final : public EvictionPolicy {
public:
    using Options = DefensiveKvOptions;
    /// value_norm [T, Hkv], T at least the prompt, or nothing; borrowed until the prompt is over.
    explicit DefensiveKv(const DefensiveKvOptions& options = {}, std::span<const float> value_norm = {})
        : options_(options), value_norm_(value_norm) {}

    EvictionNeeds needs(const EvictionShape& shape) override;
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override;

private:
    double look(const EvictionMoment& now, std::int64_t before);
    void weigh(std::int64_t heads, std::int64_t tokens, std::int64_t before);
    void protect(std::int64_t head, std::int64_t tokens, std::int64_t before, double less_than);

    DefensiveKvOptions options_;
    std::span<const float> value_norm_;
    std::vector<float> scores_;  ///< [Hkv, P]
    std::vector<float> means_;   ///< [Hkv, P] attention, the mean over group and window
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/policies/defensive_kv.inl>
#endif
