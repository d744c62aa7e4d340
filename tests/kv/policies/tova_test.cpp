#include <attenta/kv/policies/tova.hpp>

#include "kv/support/policy.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::GroupScore, attenta::Tova, attenta::TovaAggregate, attenta::TovaOptions;

/// The B best by what the newest query gives them: the mean over all heads, or combined per group.
std::vector<Positions> tova(const NaiveCache& c, const TovaOptions& o) {
    std::vector<Positions> kept = c.kept;
    const std::int64_t heads = c.x.sizes.Hq;
    for (std::int64_t g = 0; g < std::ssize(kept); ++g) {
        Positions& held = kept[NaiveCache::u(g)];
        if (std::ssize(held) <= o.budget) continue;
        const auto [old, recent] = c.without_recent(g, o.protect_last ? 1 : 0);
        std::vector<double> scores;
        for (const std::int64_t j : old) {
            const auto newest = [&](std::int64_t h) { return c.a(h, c.seen - 1, j); };
            double mean = 0;
            for (std::int64_t h = 0; h < heads; ++h) mean += newest(h) / static_cast<double>(heads);
            scores.push_back(o.aggregate == TovaAggregate::layer ? mean : c.by_group(g, o.group, newest));
        }
        held = c.together(c.top(scores, old, o.budget - std::ssize(recent)), recent);
    }
    return kept;
}

[[maybe_unused]] const auto& tested = test_policy<Tova, tova>(
    "tova", {{"layer", {.budget = 18}},
             {"group", {.budget = 12, .aggregate = TovaAggregate::group}},
             {"largest of a group", {.budget = 15, .aggregate = TovaAggregate::group, .group = GroupScore::max}},
             {"newest protected", {.budget = 13, .protect_last = true}},
             {"one token", {.budget = 1, .aggregate = TovaAggregate::group, .group = GroupScore::sum}}});

TEST(Tova, RefusesBudgetsThatDoNotFit) {
    EXPECT_TRUE(refuses([&] { Tova({.budget = 0}).needs({4, 2, 16, 16}); }, {"tova", "budget", "0", "1"}));
}

}  // namespace
}  // namespace attenta_test
