// H2O keeps the newest tokens and, of the others, those that have received the most attention. Zhang et al. 2023, "H2O:
// Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models", algorithm 1.
//
//   acc_h[j] = Σ over all queries so far of A_h[i, j];   the B − heavy newest tokens stay, of the others the `heavy` best
//
// One sum per token and K/V head (with group `max` per query head); time O(n) per step.
#pragma once

#include <attenta/kv/eviction/attention_mass.hpp>
#include <attenta/kv/eviction/window_scores.hpp>

#include <optional>

ATTENTA_BEGIN

enum class H2oNormalize : std::uint8_t { none, queries };
constexpr auto names_of(H2oNormalize) { return std::to_array<std::string_view>({"none", "queries"}); }

struct H2oOptions {
    std::int64_t budget = 1024;              ///< tokens kept per K/V head
    std::optional<std::int64_t> heavy = {};  ///< of them those with the most attention; default half
    GroupScore group = GroupScore::mean;
    H2oNormalize normalize = H2oNormalize::none;  ///< queries: by how many queries had the token in reach

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head");
        visit("heavy", o.heavy, "of them those with the most attention, default half");
        visit("group", o.group, "how the query heads of a K/V head combine: mean, sum or max");
        visit("normalize", o.normalize, "none, or queries: divide by the queries that had the token in reach");
    }
};

class H2o final : public EvictionPolicy {
public:
    using Options = H2oOptions;
    explicit H2o(const H2oOptions& options = {}) : options_(options), mass_(options.group) {}

    EvictionNeeds needs(const EvictionShape& shape) override {
        eviction::check_budget("h2o", options_.budget, "heavy", heavy());
        return {.columns = mass_.columns(shape), .weights = true};
    }
    void observe(const EvictionMoment& now, std::span<const HeldTokens> heads) override { mass_.add(now, heads); }
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override {
        for (const HeldTokens& held : heads) {
            const float* const scores = normalized(now, held);
            choices[static_cast<std::size_t>(held.head)] = {
                .scores = scores, .keep = options_.budget, .recent = options_.budget - heavy()};
        }
    }

private:
    std::int64_t heavy() const { return options_.heavy.value_or(options_.budget / 2); }
    const float* normalized(const EvictionMoment& now, const HeldTokens& held) {
        const float* const mass = mass_.of(held, now.shape);
        if (options_.normalize == H2oNormalize::none) return mass;
        scores_.resize(static_cast<std::size_t>(now.shape.kv_heads));
        auto& scores = scores_[static_cast<std::size_t>(held.head)];
        scores.resize(held.positions.size());
        for (std::size_t i = 0; i < scores.size(); ++i)
            scores[i] = mass[i] / static_cast<float>(now.seen - held.positions[i]);
        return scores.data();
    }

    H2oOptions options_;
    eviction::AttentionMass mass_;
    std::vector<std::vector<float>> scores_;
};

ATTENTA_END
