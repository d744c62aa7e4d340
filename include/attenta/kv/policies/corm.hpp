// CORM keeps the tokens that one of the last queries still needed. Dai et al. 2024, "Sequence can Secretly Tell You What to
// Discard", definitions 1 and 2.
//
//   a token stays if it is among the `recent` newest, or if A_h[i, j] >= u(i) for one of the last `window` queries i >= j
//   in one query head of the group;   u(i) = 1 / tokens seen, or 1 / tokens that query i attended to
//
// There is no budget, and before `window` queries nothing goes. Time O(n) per step; window bits per token and query head.
#pragma once

#include <attenta/kv/eviction/vote_window.hpp>
#include <attenta/kv/eviction/window_scores.hpp>

#include <functional>
#include <optional>

ATTENTA_BEGIN

struct CormOptions {
    std::int64_t window = 256;                  ///< newest queries that are asked
    std::optional<std::int64_t> recent = {};    ///< newest tokens that stay; default window
    UniformShare uniform = UniformShare::seen;  ///< tokens that the share 1/n is of

    static void fields(auto&& visit, auto& o) {
        visit("window", o.window, "newest queries that are asked");
        visit("recent", o.recent, "newest tokens that stay, default window");
        visit("uniform", o.uniform, "a weight must reach 1/tokens seen, or 1/tokens kept");
    }
};

class Corm final : public EvictionPolicy {
public:
    using Options = CormOptions;
    explicit Corm(const CormOptions& options = {}) : options_(options), votes_(options.window, options.uniform) {}

    EvictionNeeds needs(const EvictionShape& shape) override {
        eviction::require_at_least("corm", "window", options_.window, 1);
        eviction::require_at_least("corm", "recent", recent(), 0);
        return votes_.needs(shape);
    }
    void observe(const EvictionMoment& now, std::span<const HeldTokens> heads) override { votes_.add(now, heads); }
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override {
        if (now.seen < options_.window) return;
        for (const HeldTokens& held : heads) {
            const float* const votes = votes_.count(held);
            const std::int64_t newest = held.newest(recent());
            std::int64_t keep = 0;
            for (std::int64_t i = 0; i < held.size(); ++i)
                keep += votes[i] > 0 || held.positions[static_cast<std::size_t>(i)] >= newest ? 1 : 0;
            choices[static_cast<std::size_t>(held.head)] = {.scores = votes, .keep = keep, .recent = recent()};
        }
    }

private:
    std::int64_t recent() const { return options_.recent.value_or(options_.window); }

    CormOptions options_;
    eviction::VoteWindow<std::greater_equal<float>> votes_;
};

ATTENTA_END
