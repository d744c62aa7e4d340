#include <attenta/kv/policies/vatp.hpp>

#include "kv/support/policy.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::GroupScore, attenta::Vatp, attenta::VatpBase, attenta::VatpOptions;

/// The recent tokens and the first ones stay, of the others the best by ‖v‖₁ · Σ_i A[i, j] over all or the last queries.
std::vector<Positions> vatp(const NaiveCache& c, const VatpOptions& o) {
    std::vector<Positions> kept = c.kept;
    const bool all = o.base == VatpBase::h2o;
    for (std::int64_t g = 0; g < std::ssize(kept); ++g) {
        Positions& held = kept[NaiveCache::u(g)];
        if (std::ssize(held) <= o.budget) continue;
        const auto [old, recent] = c.without_recent(g, o.recent.value_or(all ? o.budget / 2 : 10));
        const auto first = std::find_if(old.begin(), old.end(), [&](std::int64_t j) { return j >= o.sink; });
        const Positions rest(first, old.end()), stay = c.together({old.begin(), first}, recent);
        std::vector<double> scores;
        for (const std::int64_t j : rest) {
            double norm = 0;
            for (std::int64_t d = 0; d < c.x.sizes.Dv; ++d) norm += std::abs(double{c.value(j, g)[d]});
            scores.push_back(norm * c.by_group(g, o.group, [&](std::int64_t h) {
                double sum = 0;
                for (std::int64_t i = all ? j : std::max(j, c.seen - o.window); i < c.seen; ++i) sum += c.a(h, i, j);
                return sum;
            }));
        }
        held = c.together(c.top(scores, rest, o.budget - std::ssize(stay)), stay);
    }
    return kept;
}

[[maybe_unused]] const auto& tested = test_policy<Vatp, vatp>(
    "vatp",
    {{"all queries", {.budget = 18, .sink = 3}},
     {"largest of a group", {.budget = 15, .recent = 4, .sink = 0, .group = GroupScore::max}},
     {"last queries", {.budget = 16, .base = VatpBase::scissorhands, .window = 8, .sink = 2}},
     {"last queries, sum",
      {.budget = 13, .base = VatpBase::scissorhands, .recent = 5, .window = 11, .sink = 1, .group = GroupScore::sum}}});

TEST(Vatp, RefusesOptionsThatDoNotFit) {
    const auto needs = [](const VatpOptions& o) { Vatp(o).needs({4, 2, 16, 16}); };
    EXPECT_TRUE(refuses([&] { needs({.budget = 0}); }, {"vatp", "budget", "0", "1"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 8, .recent = 9}); }, {"vatp", "recent", "9", "8"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 8, .recent = 5, .sink = 4}); }, {"vatp", "sink", "4", "3"}));
    EXPECT_TRUE(refuses([&] { needs({.sink = -1}); }, {"vatp", "sink", "-1"}));
    EXPECT_TRUE(refuses([&] { needs({.base = VatpBase::scissorhands, .window = 0}); }, {"vatp", "window", "0", "1"}));
}

}  // namespace
}  // namespace attenta_test
