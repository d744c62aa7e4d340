// TOVA drops the token that the newest query attends to least. Oren et al. 2024, "Transformers are Multi-State RNNs",
// section 3.2.
//
//   score[j] = mean over all query heads of A_h[newest, j], so that all K/V heads keep the same tokens;
//              or combined over the query heads of each group
//
// Nothing is kept beside the tokens; time O(n) per step.
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/kv/eviction/group_score.hpp>
#include <attenta/kv/eviction/newest_weights.hpp>
#include <attenta/kv/eviction/window_scores.hpp>

ATTENTA_BEGIN

enum class TovaAggregate : std::uint8_t { layer, group };
constexpr auto names_of(TovaAggregate) { return std::to_array<std::string_view>({"layer", "group"}); }

struct TovaOptions {
    std::int64_t budget = 1024;                      ///< tokens kept per K/V head
    TovaAggregate aggregate = TovaAggregate::layer;  ///< what the mean, or `group`, is taken over
    GroupScore group = GroupScore::mean;             ///< of aggregate `group`
    bool protect_last = false;                       ///< the newest token stays, whatever its score

    static void fields(auto&& visit, auto& o) {
        visit("budget", o.budget, "tokens kept per K/V head");
        visit("aggregate", o.aggregate, "layer (mean of all query heads) or group");
        visit("group", o.group, "how the query heads of a K/V head combine: mean, sum or max");
        visit("protect_last", o.protect_last, "the newest token stays, whatever its score");
    }
};

class Tova final : public EvictionPolicy {
public:
    using Options = TovaOptions;
    explicit Tova(const TovaOptions& options = {}) : options_(options) {}

    EvictionNeeds needs(const EvictionShape&) override {
        eviction::check_budget("tova", options_.budget);
        return {.columns = 1, .weights = true};
    }
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override {
        if (eviction::most_held(heads) <= options_.budget) return;
        newest_.update(now);
        if (options_.aggregate == TovaAggregate::layer) require_same_tokens(heads);
        for (const HeldTokens& held : heads) {
            float* const scores = held.column(0);
            if (options_.aggregate == TovaAggregate::group)
                combine(held.head * now.shape.group(), now.shape.group(), held.size(), options_.group, scores);
            else if (held.head == 0)
                combine(0, now.shape.query_heads, held.size(), GroupScore::mean, scores);
            else
                std::copy_n(heads[0].column(0), held.size(), scores);
            choices[static_cast<std::size_t>(held.head)] = {
                .scores = scores, .keep = options_.budget, .recent = options_.protect_last ? 1 : 0};
        }
    }

private:
    /// The layer's mean is one of tokens that all heads hold.
    static void require_same_tokens(std::span<const HeldTokens> heads) {
        for (const HeldTokens& held : heads)
            if (!std::equal(held.positions.begin(), held.positions.end(), heads[0].positions.begin(),
                            heads[0].positions.end()))
                fail("tova", "head " + std::to_string(held.head) +
                                 " holds other tokens than head 0, aggregate layer needs the same ones");
    }
    void combine(std::int64_t first, std::int64_t heads, std::int64_t n, GroupScore how, float* to) const {
        eviction::combine_heads(newest_.of(first), newest_.stride(), heads, n, how, to);
    }

    TovaOptions options_;
    eviction::NewestWeights newest_;
};

ATTENTA_END
