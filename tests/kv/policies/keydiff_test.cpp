#include <attenta/kv/policies/keydiff.hpp>

#include "kv/support/given.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::Keydiff, attenta::KeydiffOptions;

/// score = −cos(k_j, mean of k_i/‖k_i‖ over all held tokens)
std::vector<Positions> keydiff(const NaiveCache& c, const KeydiffOptions& o) {
    const std::int64_t D = c.x.sizes.D;
    const auto unit = [&](std::int64_t g, std::int64_t j) {
        const double norm = std::max(naive_norm(c.key(j, g), D), 1e-12);
        std::vector<double> u;
        for (std::int64_t d = 0; d < D; ++d) u.push_back(double{c.key(j, g)[d]} / norm);
        return u;
    };
    std::vector<std::vector<double>> anchors;
    for (std::int64_t g = 0; g < c.x.sizes.Hkv; ++g) {
        const Positions& held = c.kept[NaiveCache::u(g)];
        std::vector<double>& anchor = anchors.emplace_back(NaiveCache::u(D));
        for (const std::int64_t j : held)
            for (std::size_t d = 0; d < anchor.size(); ++d)
                anchor[d] += unit(g, j)[d] / static_cast<double>(held.size());
    }
    return keep_best(c, o.budget, o.recent, [&](std::int64_t g, std::int64_t j) {
        const std::vector<double>&a = anchors[NaiveCache::u(g)], u = unit(g, j);
        double product = 0, length = 0;
        for (std::size_t d = 0; d < a.size(); ++d) product += a[d] * u[d], length += a[d] * a[d];
        return -product / std::max(std::sqrt(length), 1e-12);
    });
}

[[maybe_unused]] const auto& policy = test_policy<Keydiff, keydiff>(
    "keydiff", {{"plain", {.budget = 19}}, {"recent", {.budget = 12, .recent = 5}}, {"few", {.budget = 3}}});

/// A zero key has the score 0, better than that of a key along the mean.
TEST(Keydiff, KeepsZeroKeys) {
    EvictionCase x({9, 6, 1, 1, 8, 8}, 3);
    for (std::int64_t t = 0; t < 9; ++t)
        for (std::int64_t d = 0; d < 8; ++d)
            x.k[NaiveCache::u(t * 8 + d)] = t == 2 ? 0.f : 1.f + 0.01f * static_cast<float>(t * d);
    Keydiff few({.budget = 3});
    attenta::Context context;
    const EvictionResult r = run_policy(x, few, context);
    EXPECT_TRUE(std::find(r.kept[0].begin(), r.kept[0].end(), 2) != r.kept[0].end());
}

TEST(Keydiff, RefusesBudgetsThatDoNotFit) {
    const auto needs = [](const KeydiffOptions& o) { Keydiff(o).needs({4, 2, 16, 16}); };
    EXPECT_TRUE(refuses([&] { needs({.budget = 0}); }, {"keydiff", "budget", "0", "1"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 8, .recent = 9}); }, {"keydiff", "recent", "9", "8"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 8, .recent = -1}); }, {"keydiff", "recent", "-1", "8"}));
}

}  // namespace
}  // namespace attenta_test
