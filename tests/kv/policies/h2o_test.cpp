#include <attenta/kv/policies/h2o.hpp>

#include "kv/support/policy.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::GroupScore, attenta::H2o, attenta::H2oNormalize, attenta::H2oOptions;

/// The B − heavy newest stay, of the others the `heavy` best by acc[j] = Σ_i A[i, j].
std::vector<Positions> h2o(const NaiveCache& c, const H2oOptions& o) {
    std::vector<Positions> kept = c.kept;
    const std::int64_t heavy = o.heavy.value_or(o.budget / 2);
    for (std::int64_t g = 0; g < std::ssize(kept); ++g) {
        Positions& held = kept[NaiveCache::u(g)];
        if (std::ssize(held) <= o.budget) continue;
        const auto [old, recent] = c.without_recent(g, o.budget - heavy);
        std::vector<double> scores;
        for (const std::int64_t j : old)
            scores.push_back(c.by_group(g, o.group, [&](std::int64_t h) {
                double sum = 0;
                for (std::int64_t i = j; i < c.seen; ++i) sum += c.a(h, i, j);
                return o.normalize == H2oNormalize::queries ? sum / static_cast<double>(c.seen - j) : sum;
            }));
        held = c.together(c.top(scores, old, heavy), recent);
    }
    return kept;
}

[[maybe_unused]] const auto& policy = test_policy<H2o, h2o>(
    "h2o",
    {{"plain", {.budget = 18}},
     {"few heavy", {.budget = 13, .heavy = 4}},
     {"largest of a group", {.budget = 15, .group = GroupScore::max}},
     {"per query, sum", {.budget = 17, .heavy = 17, .group = GroupScore::sum, .normalize = H2oNormalize::queries}}});

TEST(H2o, RefusesBudgetsThatDoNotFit) {
    const auto needs = [](const H2oOptions& o) { H2o(o).needs({4, 2, 16, 16}); };
    EXPECT_TRUE(refuses([&] { needs({.budget = 0}); }, {"h2o", "budget", "0", "1"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 8, .heavy = 9}); }, {"h2o", "heavy", "9", "8"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 8, .heavy = -1}); }, {"h2o", "heavy", "-1", "8"}));
}

}  // namespace
}  // namespace attenta_test
