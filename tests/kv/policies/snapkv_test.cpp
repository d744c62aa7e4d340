#include <attenta/kv/policies/snapkv.hpp>

#include "kv/support/policy.hpp"
#include "kv/support/window.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::GroupScore, attenta::Pooling, attenta::Snapkv, attenta::SnapkvDecode, attenta::SnapkvOptions;

/// The window stays, of the tokens before it the B − w best by pooled attention of the window's queries.
std::vector<Positions> snapkv(const NaiveCache& c, const SnapkvOptions& o) {
    std::vector<Positions> kept = c.kept;
    if (o.decode == SnapkvDecode::grow && c.seen > c.prompt()) return kept;
    for (std::int64_t g = 0; g < std::ssize(kept); ++g) {
        Positions& held = kept[NaiveCache::u(g)];
        if (std::ssize(held) <= o.budget) continue;
        const std::int64_t w = std::min(o.window, c.seen);
        const auto [before, window] = c.without_recent(g, w);
        held = c.together(c.top(naive_window_scores(c, g, o), before, o.budget - w), window);
    }
    return kept;
}

SnapkvOptions options(std::int64_t budget, std::int64_t window, std::int64_t kernel, Pooling pooling, GroupScore group,
                      SnapkvDecode decode) {
    SnapkvOptions o;
    o.budget = budget, o.window = window, o.kernel = kernel, o.pooling = pooling, o.group = group, o.decode = decode;
    return o;
}

[[maybe_unused]] const auto& policy = test_policy<Snapkv, snapkv>(
    "snapkv", {{"grow", options(21, 8, 5, Pooling::avg, GroupScore::mean, SnapkvDecode::grow)},
               {"maximum", options(15, 6, 7, Pooling::max, GroupScore::mean, SnapkvDecode::grow)},
               {"evict", options(17, 5, 3, Pooling::avg, GroupScore::max, SnapkvDecode::evict)},
               {"evict, sum", options(14, 4, 1, Pooling::max, GroupScore::sum, SnapkvDecode::evict)}});

TEST(Snapkv, RefusesWindowsThatDoNotFit) {
    const auto needs = [](std::int64_t budget, std::int64_t window, std::int64_t kernel) {
        Snapkv(options(budget, window, kernel, Pooling::avg, GroupScore::mean, SnapkvDecode::grow))
            .needs({4, 2, 16, 16});
    };
    EXPECT_TRUE(refuses([&] { needs(0, 1, 1); }, {"snapkv", "budget", "0"}));
    EXPECT_TRUE(refuses([&] { needs(8, 8, 1); }, {"snapkv", "window", "8"}));
    EXPECT_TRUE(refuses([&] { needs(8, 0, 1); }, {"snapkv", "window", "0"}));
    EXPECT_TRUE(refuses([&] { needs(8, 4, 4); }, {"snapkv", "kernel", "4", "odd"}));
}

}  // namespace
}  // namespace attenta_test
