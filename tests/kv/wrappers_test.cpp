// Policies around policies.
#include <attenta/kv/eviction/wrappers.hpp>
#include <attenta/kv/policies/caote.hpp>
#include <attenta/kv/policies/h2o.hpp>
#include <attenta/kv/policies/keydiff.hpp>
#include <attenta/kv/policies/streaming.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "kv/support/policy.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::H2o, attenta::Streaming;

const EvictionSizes sizes{40, 30, 4, 2, 16, 8};

/// Held after the run, first head.
Positions held_after(attenta::EvictionPolicy& policy, const EvictionCase& x = EvictionCase(sizes, 3)) {
    attenta::Context context;
    return run_policy(x, policy, context).kept[0];
}

TEST(EvictionWrappers, PromptOnlyGrowsAfterThePrompt) {
    Streaming streaming({.budget = 10, .sink = 2});
    attenta::PromptOnly once(streaming);
    const Positions want{0, 1, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39};
    EXPECT_EQ(held_after(once), want);
}

TEST(EvictionWrappers, EveryFewTokensGathersInBetween) {
    for (std::int64_t T = 31; T < 45; ++T) {
        Streaming streaming({.budget = 10, .sink = 2});
        attenta::EveryFewTokens few(streaming, 4);
        const Positions held = held_after(few, EvictionCase({T, 30, 4, 2, 16, 8}, 3));
        EXPECT_EQ(std::ssize(held), 10 + (T - 30) % 4);
        EXPECT_EQ(held.back(), T - 1);
    }
}

TEST(EvictionWrappers, BelowThresholdLeavesWhatScoresMore) {
    const EvictionCase x(sizes, 3);
    H2o all({.budget = 20}), h2o({.budget = 20});
    attenta::BelowThreshold none(all, -1.f, 5), some(h2o, 1.f, 5);
    EXPECT_EQ(std::ssize(held_after(none, x)), 40);
    const Positions held = held_after(some, x);
    EXPECT_LT(std::ssize(held), 40);
    EXPECT_GT(std::ssize(held), 5);
    EXPECT_EQ(Positions(held.end() - 5, held.end()), (Positions{35, 36, 37, 38, 39}));
}

TEST(EvictionWrappers, HeadBudgetsAreTheirOwn) {
    Streaming streaming({.budget = 4, .sink = 2});
    const std::vector<std::int64_t> budgets{4, 9};
    attenta::HeadBudgets wrapped(streaming, budgets);
    attenta::Context context;
    const EvictionResult r = run_policy(EvictionCase(sizes, 3), wrapped, context);
    EXPECT_EQ(r.kept[0], (Positions{0, 1, 38, 39}));
    EXPECT_EQ(std::ssize(r.kept[1]), 9);
}

/// Compares the choice of a policy that may look at few tokens with all scores, in some of its steps.
class Watched final : public attenta::WrappedPolicy {
public:
    using WrappedPolicy::WrappedPolicy;
    void judge(const attenta::EvictionMoment& now, std::span<const attenta::HeldTokens> heads,
               std::span<attenta::EvictionChoice> choices) override {
        WrappedPolicy::judge(now, heads, choices);
        if (now.prompt || ++steps_ % 37 != 0) return;
        std::vector<std::vector<float>> few;
        for (const attenta::HeldTokens& held : heads) {
            const float* const scores = choices[static_cast<std::size_t>(held.head)].scores;
            few.emplace_back(scores, scores + held.size());
        }
        attenta::EvictionMoment of_all = now;
        of_all.every_score = true;
        WrappedPolicy::judge(of_all, heads, choices);
        for (const attenta::HeldTokens& held : heads) {
            const attenta::EvictionChoice& choice = choices[static_cast<std::size_t>(held.head)];
            const std::vector<float>& known = few[static_cast<std::size_t>(held.head)];
            const std::int64_t recent = held.newest(choice.recent);
            std::size_t goes = known.size(), should = known.size();
            for (std::size_t i = 0; i < known.size(); ++i) {
                if (held.positions[i] >= recent) continue;
                if (goes == known.size() || known[i] < known[goes]) goes = i;
                if (should == known.size() || choice.scores[i] < choice.scores[should]) should = i;
                EXPECT_LE(known[i], choice.scores[i] + 1e-4f * std::abs(choice.scores[i])) << "slot " << i;
                differs_ = differs_ || known[i] < choice.scores[i] - 1e-3f * std::abs(choice.scores[i]);
            }
            const float least = choice.scores[should];
            EXPECT_LE(choice.scores[goes], least + 1e-4f * std::abs(least)) << "step " << steps_;
        }
    }
    /// Whether some score was below the truth.
    bool has_looked_at_few() const { return differs_; }

private:
    std::int64_t steps_ = 0;
    bool differs_ = false;
};

TEST(EvictionWrappers, FewScoresChooseAsAllOfThem) {
    const EvictionCase x({1500, 1100, 4, 2, 16, 8}, 5);
    attenta::Caote heavy({.budget = 1000}), newest({.budget = 1000, .base = attenta::CaoteBase::tova});
    attenta::Keydiff keydiff({.budget = 1000, .recent = 10});
    for (attenta::EvictionPolicy* policy :
         {static_cast<attenta::EvictionPolicy*>(&heavy), static_cast<attenta::EvictionPolicy*>(&newest),
          static_cast<attenta::EvictionPolicy*>(&keydiff)}) {
        Watched watched(*policy);
        EXPECT_EQ(std::ssize(held_after(watched, x)), 1000);
        EXPECT_TRUE(watched.has_looked_at_few());
    }
}

TEST(EvictionWrappers, RefuseNumbersThatDoNotFit) {
    Streaming streaming({.budget = 10});
    EXPECT_TRUE(refuses([&] { attenta::EveryFewTokens(streaming, 0); }, {"EveryFewTokens", "steps", "0"}));
    EXPECT_TRUE(refuses([&] { attenta::BelowThreshold(streaming, 0, -1); }, {"BelowThreshold", "window", "-1"}));
    const std::vector<std::int64_t> one{3}, zero{3, 0};
    EXPECT_TRUE(refuses([&] { attenta::HeadBudgets(streaming, one).needs({4, 2, 8, 8}); }, {"HeadBudgets", "1", "2"}));
    EXPECT_TRUE(refuses([&] { attenta::HeadBudgets(streaming, zero).needs({4, 2, 8, 8}); }, {"HeadBudgets", "0"}));
}

}  // namespace
}  // namespace attenta_test
