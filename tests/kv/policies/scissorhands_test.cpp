#include <attenta/kv/policies/scissorhands.hpp>

#include "kv/support/policy.hpp"
#include "kv/support/uniform_share.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::GroupScore, attenta::Scissorhands, attenta::ScissorhandsOptions, attenta::ScissorhandsScore,
    attenta::UniformShare;

/// −(how often one of the last w queries i >= j, in a head of the group, gave j less than its share), or Σ_i A[i, j].
double score_of(const NaiveCache& c, const ScissorhandsOptions& o, std::int64_t g, std::int64_t j) {
    const std::int64_t first = std::max(j, c.seen - o.window);
    if (o.score == ScissorhandsScore::sum)
        return c.by_group(g, o.group, [&](std::int64_t h) {
            double sum = 0;
            for (std::int64_t i = first; i < c.seen; ++i) sum += c.a(h, i, j);
            return sum;
        });
    double bad = 0;
    for (std::int64_t h = g * c.group(); h < (g + 1) * c.group(); ++h)
        for (std::int64_t i = first; i < c.seen; ++i) bad += gives_its_share(c, o.uniform, h, i, j) ? 0 : 1;
    return -bad;
}

/// With n > B held, n − max(n − B, drop) remain: the recent ones, and the best of the others.
std::vector<Positions> scissorhands(const NaiveCache& c, const ScissorhandsOptions& o) {
    std::vector<Positions> kept = c.kept;
    for (std::int64_t g = 0; g < std::ssize(kept); ++g) {
        Positions& held = kept[NaiveCache::u(g)];
        if (std::ssize(held) <= o.budget) continue;
        const std::int64_t remain = std::ssize(held) - std::max(std::ssize(held) - o.budget, o.drop);
        const auto [old, recent] = c.without_recent(g, o.recent);
        std::vector<double> scores;
        for (const std::int64_t j : old) scores.push_back(score_of(c, o, g, j));
        held = c.together(c.top(scores, old, remain - o.recent), recent);
    }
    return kept;
}

[[maybe_unused]] const auto& tested = test_policy<Scissorhands, scissorhands>(
    "scissorhands",
    {{"votes", {.budget = 17, .window = 12, .recent = 4}},
     {"many at once, share of the kept",
      {.budget = 20, .window = 40, .recent = 5, .drop = 8, .uniform = UniformShare::kept}},
     {"all but the recent ones at once", {.budget = 9, .window = 5, .recent = 2, .drop = 30}},
     {"one query", {.budget = 11, .window = 1, .recent = 0, .uniform = UniformShare::kept}},
     {"sums", {.budget = 12, .window = 10, .recent = 3, .score = ScissorhandsScore::sum}},
     {"sum of one query", {.budget = 12, .window = 1, .recent = 1, .score = ScissorhandsScore::sum}},
     {"largest sum",
      {.budget = 16, .window = 7, .recent = 3, .score = ScissorhandsScore::sum, .group = GroupScore::max}},
     {"sums of sums",
      {.budget = 14, .window = 400, .recent = 3, .score = ScissorhandsScore::sum, .group = GroupScore::sum}}});

TEST(Scissorhands, RefusesOptionsThatDoNotFit) {
    const auto needs = [](const ScissorhandsOptions& o) { Scissorhands(o).needs({4, 2, 16, 16}); };
    EXPECT_TRUE(refuses([&] { needs({.budget = 0, .recent = 0}); }, {"scissorhands", "budget", "0", "1"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 8}); }, {"scissorhands", "recent", "10", "8"}));
    EXPECT_TRUE(refuses([&] { needs({.recent = -1}); }, {"scissorhands", "recent", "-1"}));
    EXPECT_TRUE(refuses([&] { needs({.window = 0}); }, {"scissorhands", "window", "0", "1"}));
    EXPECT_TRUE(refuses([&] { needs({.drop = -2}); }, {"scissorhands", "drop", "-2", "0"}));
}

TEST(Scissorhands, RefusesWindowsBeyondAllMemory) {
    attenta::KvCache cache({.kv_heads = 1, .dim = 1, .capacity = 4096});
    Scissorhands policy({.window = std::int64_t{1} << 60, .score = ScissorhandsScore::sum, .group = GroupScore::max});
    EXPECT_TRUE(refuses([&] { attenta::Evictor(cache, policy, {.query_heads = 1 << 20}); }, {"Evictor", "memory"}));
}

}  // namespace
}  // namespace attenta_test
