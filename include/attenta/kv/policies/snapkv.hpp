// SnapKV compresses the prompt to what its last queries look at. Li et al. 2024, "SnapKV: LLM Knows What You are Looking for
// Before Generation", section 4.
//
//   a_h[i, j] = attention of the last `window` queries;   s_g[j] = pool_j( group_h( mean_i a_h[i, j] ) ) before the window
//
// The window stays, and of the tokens before it the best. Time O(window·P·D) after the prompt; nothing is kept, or with
// `decode` evict the last `window` queries, whose attention is computed again after each token.
#pragma once

#include <attenta/kv/eviction/window_scores.hpp>

ATTENTA_BEGIN

enum class SnapkvDecode : std::uint8_t { grow, evict };
constexpr auto names_of(SnapkvDecode) { return std::to_array<std::string_view>({"grow", "evict"}); }

struct SnapkvOptions : WindowOptions {
    std::int64_t budget = 1024;                ///< tokens kept per K/V head
    SnapkvDecode decode = SnapkvDecode::grow;  ///< grow: nothing is evicted after the prompt

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head");
        WindowOptions::fields(visit, o);
        visit("decode", o.decode, "grow (only the prompt is compressed) or evict (after each token)");
    }
};

class Snapkv final : public EvictionPolicy {
public:
    using Options = SnapkvOptions;
    explicit Snapkv(const SnapkvOptions& options = {}) : options_(options), scores_(options) {}

    EvictionNeeds needs(const EvictionShape&) override {
        eviction::check_window("snapkv", options_, options_.budget);
        return {.window = options_.decode == SnapkvDecode::evict ? options_.window : 0};
    }
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override {
        if (!now.prompt && options_.decode == SnapkvDecode::grow) return;
        if (eviction::most_held(heads) <= options_.budget) return;
        scores_.keep_best(now, heads, options_.budget, choices);
    }

private:
    SnapkvOptions options_;
    eviction::WindowScores scores_;
};

ATTENTA_END
