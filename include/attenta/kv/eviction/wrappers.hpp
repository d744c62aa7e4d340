// Policies around policies: when they evict, and of how much.
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/kv/eviction/policy.hpp>
#include <attenta/kv/eviction/threshold.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

ATTENTA_BEGIN

/// A policy that sees what another one sees and lets it judge. The other one is borrowed.
class WrappedPolicy : public EvictionPolicy {
public:
    explicit WrappedPolicy(EvictionPolicy& inner) : inner_(inner) {}

    EvictionNeeds needs(const EvictionShape& shape) override { return inner_.needs(shape); }
    void expect(std::int64_t seen) override { inner_.expect(seen); }
    void arrive(const HeldTokens& held, std::int64_t slot, const float* k, const float* v) override {
        inner_.arrive(held, slot, k, v);
    }
    void observe(const EvictionMoment& now, std::span<const HeldTokens> heads) override { inner_.observe(now, heads); }
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override {
        inner_.judge(now, heads, choices);
    }
    void leave(const HeldTokens& held, std::span<const std::int32_t> gone, KvCache& cache) override {
        inner_.leave(held, gone, cache);
    }

private:
    EvictionPolicy& inner_;
};

/// Compresses the prompt and evicts nothing afterwards.
class PromptOnly final : public WrappedPolicy {
public:
    using WrappedPolicy::WrappedPolicy;
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override {
        if (now.prompt) WrappedPolicy::judge(now, heads, choices);
    }
};

/// Evicts after the prompt, and then after every so many tokens what has gathered: heads hold up to `steps` - 1 tokens more.
class EveryFewTokens final : public WrappedPolicy {
public:
    /// Throws Error on steps below 1.
    EveryFewTokens(EvictionPolicy& inner, std::int64_t steps) : WrappedPolicy(inner), steps_(steps) {
        checks::require_at_least("EveryFewTokens", "steps", steps, 1);
    }
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override {
        since_ = now.prompt ? 0 : since_ + 1;
        if (since_ % steps_ == 0) WrappedPolicy::judge(now, heads, choices);
    }

private:
    std::int64_t steps_, since_ = 0;
};

/// Another policy's scores with a threshold in its budget's place: what scores below it goes, once it is no longer among the
/// newest `window` tokens. Policies that score nothing while heads hold no more than their budget want one of 1.
class BelowThreshold final : public WrappedPolicy {
public:
    BelowThreshold(EvictionPolicy& inner, float threshold, std::int64_t window)
        : WrappedPolicy(inner), threshold_(threshold), window_(window) {
        checks::require_at_least("BelowThreshold", "window", window, 0);
    }
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override {
        EvictionMoment of_all = now;
        of_all.every_score = true;
        WrappedPolicy::judge(of_all, heads, choices);
        for (const HeldTokens& held : heads) {
            EvictionChoice& choice = choices[static_cast<std::size_t>(held.head)];
            choice.keep = held.size();
            if (choice.scores)
                choice =
                    eviction::keep_from(threshold_, held, choice.scores, std::max(choice.recent, window_), choice.sink);
        }
    }

private:
    float threshold_;
    std::int64_t window_;
};

/// A budget for each K/V head: of `budgets` [heads] the head's own. The other policy's budget decides when it scores: it is at
/// most the least of these. Not for policies whose scores are those of all heads together.
class HeadBudgets final : public WrappedPolicy {
public:
    HeadBudgets(EvictionPolicy& inner, std::span<const std::int64_t> budgets)
        : WrappedPolicy(inner), budgets_(budgets) {}
    /// Throws Error unless there is a budget of at least 1 for every head.
    EvictionNeeds needs(const EvictionShape& shape) override {
        if (static_cast<std::int64_t>(budgets_.size()) != shape.kv_heads)
            fail("HeadBudgets", "budgets has " + std::to_string(budgets_.size()) + " elements, needs " +
                                    std::to_string(shape.kv_heads));
        for (const std::int64_t b : budgets_)
            if (b < 1) fail("HeadBudgets", "budgets has " + std::to_string(b) + ", needs at least 1");
        return WrappedPolicy::needs(shape);
    }
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override {
        WrappedPolicy::judge(now, heads, choices);
        for (std::size_t g = 0; g < choices.size(); ++g) {
            EvictionChoice& c = choices[g];
            if (c.keep >= heads[g].size()) continue;  // nobody was to go, and nobody may have scored
            c.keep = budgets_[g];
            c.sink = std::min(c.sink, c.keep);
            c.recent = std::min(c.recent, c.keep - c.sink);
        }
    }

private:
    std::span<const std::int64_t> budgets_;
};

ATTENTA_END
