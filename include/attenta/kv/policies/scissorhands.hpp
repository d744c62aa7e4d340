// Scissorhands drops the tokens that the last queries found unimportant most often. Liu et al. 2023, "Scissorhands:
// Exploiting the Persistence of Importance Hypothesis for LLM KV Cache Compression at Test Time", algorithms 1 and 2.
//
//   bad_g[j] = how many of the last `window` queries i >= j, in all query heads of the group, have A_h[i, j] < u(i)
//   u(i) = 1 / tokens seen, or 1 / tokens that query i attended to
//
// When more than the budget are held, the `recent` newest stay, and of the others those with the most votes go, at least
// `drop` at once. `score` sum takes the window's attention itself in place of votes. Time O(n) per step; window bits per
// token and query head, or window floats per token and K/V head.
#pragma once

#include <attenta/kv/eviction/sliding_mass.hpp>
#include <attenta/kv/eviction/vote_window.hpp>
#include <attenta/kv/eviction/window_scores.hpp>

#include <functional>

ATTENTA_BEGIN

enum class ScissorhandsScore : std::uint8_t { count, sum };
constexpr auto names_of(ScissorhandsScore) { return std::to_array<std::string_view>({"count", "sum"}); }

struct ScissorhandsOptions {
    std::int64_t budget = 1024;                 ///< tokens kept per K/V head
    std::int64_t window = 400;                  ///< newest queries that vote
    std::int64_t recent = 10;                   ///< newest tokens that stay
    std::int64_t drop = 0;                      ///< tokens that go at once, if more than those beyond the budget
    UniformShare uniform = UniformShare::seen;  ///< tokens that the share 1/n is of
    ScissorhandsScore score = ScissorhandsScore::count;
    GroupScore group = GroupScore::mean;  ///< of sums; votes are added

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head");
        visit("window", o.window, "newest queries that vote");
        visit("recent", o.recent, "newest tokens that stay");
        visit("drop", o.drop, "tokens that go at once, if more than those beyond the budget");
        visit("uniform", o.uniform, "a weight must reach 1/tokens seen, or 1/tokens kept");
        visit("score", o.score, "count (votes against a token) or sum (attention)");
        visit("group", o.group, "how the sums of the query heads of a K/V head combine: mean, sum or max");
    }
};

class Scissorhands final : public EvictionPolicy {
public:
    using Options = ScissorhandsOptions;
    explicit Scissorhands(const ScissorhandsOptions& options = {})
        : options_(options), votes_(options.window, options.uniform), mass_(options.window, options.group) {}

    EvictionNeeds needs(const EvictionShape& shape) override {
        const char* const f = "scissorhands";
        eviction::check_budget(f, options_.budget, "recent", options_.recent);
        eviction::require_at_least(f, "window", options_.window, 1);
        eviction::require_at_least(f, "drop", options_.drop, 0);
        if (options_.score == ScissorhandsScore::sum) return {.columns = mass_.columns(shape), .weights = true};
        EvictionNeeds needs = votes_.needs(shape);
        score_column_ = needs.columns++;
        return needs;
    }
    void observe(const EvictionMoment& now, std::span<const HeldTokens> heads) override {
        options_.score == ScissorhandsScore::sum ? mass_.add(now, heads) : votes_.add(now, heads);
    }
    void judge(const EvictionMoment&, std::span<const HeldTokens> heads, std::span<EvictionChoice> choices) override {
        for (const HeldTokens& held : heads) {
            const std::int64_t surplus = held.size() - options_.budget;
            if (surplus <= 0) continue;
            choices[static_cast<std::size_t>(held.head)] = {
                .scores = scores(held),
                .keep = std::max(held.size() - std::max(surplus, options_.drop), options_.recent),
                .recent = options_.recent};
        }
    }

private:
    const float* scores(const HeldTokens& held) const {
        if (options_.score == ScissorhandsScore::sum) return mass_.of(held);
        const float* const against = votes_.count(held);
        float* const scores = held.column(score_column_);
        for (std::int64_t i = 0; i < held.size(); ++i) scores[i] = -against[i];
        return scores;
    }

    ScissorhandsOptions options_;
    eviction::VoteWindow<std::less<float>> votes_;
    eviction::SlidingMass mass_;
    std::int64_t score_column_ = 0;
};

ATTENTA_END
