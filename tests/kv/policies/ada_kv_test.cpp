#include <attenta/kv/policies/ada_kv.hpp>

#include <cmath>
#include <functional>
#include <limits>

#include "kv/support/policy.hpp"
#include "kv/support/shares.hpp"
#include "kv/support/window.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::AdaKv, attenta::AdaKvAllocation, attenta::AdaKvOptions, attenta::GroupScore, attenta::Pooling;

/// Heads keep the window and the best of their other tokens; how many, SnapKV's scores of all heads together decide.
std::vector<Positions> ada_kv(const NaiveCache& c, const AdaKvOptions& o) {
    std::vector<Positions> kept = c.kept;
    if (c.seen > c.prompt() || c.seen <= o.budget) return kept;
    const std::int64_t Hkv = std::ssize(kept), before = o.budget - o.window;
    std::vector<std::vector<double>> scores;
    for (std::int64_t g = 0; g < Hkv; ++g) scores.push_back(naive_window_scores(c, g, o));
    std::vector<std::int64_t> shares;
    if (o.allocation == AdaKvAllocation::blend) {
        auto counted = scores;
        for (auto& s : counted) {
            auto sorted = s;
            std::sort(sorted.begin(), sorted.end(), std::greater<>());
            const double best = std::accumulate(sorted.begin(), sorted.begin() + before, 0.),
                         all = std::accumulate(sorted.begin(), sorted.end(), 0.);
            for (double& x : s) x *= o.normalize ? best / all : 1;
        }
        shares = naive_shares(c, counted, Hkv * before);
        for (std::int64_t& n : shares)
            n = std::lrint((1 - o.floor) * static_cast<double>(n) + std::floor(o.floor * static_cast<double>(before)));
    } else {
        // Those that are safe count as better than all others.
        const auto safe = std::max<std::int64_t>(
            0, static_cast<std::int64_t>(std::floor(o.floor * static_cast<double>(o.budget))) - o.window);
        auto counted = scores;
        for (std::int64_t g = 0; g < Hkv; ++g)
            for (const std::int64_t j : c.top(scores[NaiveCache::u(g)], c.without_recent(g, o.window).first, safe))
                counted[NaiveCache::u(g)][NaiveCache::u(j)] = std::numeric_limits<double>::infinity();
        shares = naive_shares(c, counted, Hkv * before);
    }
    for (std::int64_t g = 0; g < Hkv; ++g) {
        const auto [old, window] = c.without_recent(g, o.window);
        kept[NaiveCache::u(g)] = c.together(c.top(scores[NaiveCache::u(g)], old, shares[NaiveCache::u(g)]), window);
    }
    return kept;
}

AdaKvOptions options(std::int64_t budget, std::int64_t window, std::int64_t kernel, Pooling pooling, double floor,
                     AdaKvAllocation allocation = AdaKvAllocation::blend, bool normalize = false) {
    AdaKvOptions o;
    o.window = window, o.kernel = kernel, o.pooling = pooling, o.budget = budget, o.floor = floor,
    o.allocation = allocation, o.normalize = normalize;
    return o;
}

[[maybe_unused]] const auto& policy = test_policy<AdaKv, ada_kv>(
    "ada_kv", {{"blend", options(17, 5, 5, Pooling::max, 0.2)},
               {"all by scores", options(14, 4, 3, Pooling::avg, 0)},
               {"all alike", options(14, 4, 3, Pooling::avg, 1)},
               {"normalized", options(13, 4, 5, Pooling::avg, 0.3, AdaKvAllocation::blend, true)},
               {"safeguard", options(15, 4, 5, Pooling::avg, 0.5, AdaKvAllocation::safeguard)},
               {"safeguard of the window", options(15, 6, 3, Pooling::avg, 0.1, AdaKvAllocation::safeguard)}});

TEST(AdaKv, RefusesWhatDoesNotFit) {
    const auto needs = [](const AdaKvOptions& o) { AdaKv(o).needs({4, 2, 16, 16}); };
    const double nan = std::numeric_limits<double>::quiet_NaN();
    EXPECT_TRUE(refuses([&] { needs(options(8, 8, 5, Pooling::avg, 0.2)); }, {"ada_kv", "window", "8"}));
    EXPECT_TRUE(refuses([&] { needs(options(8, 4, 4, Pooling::avg, 0.2)); }, {"ada_kv", "kernel", "4", "odd"}));
    EXPECT_TRUE(refuses([&] { needs(options(8, 4, 5, Pooling::avg, -0.5)); }, {"ada_kv", "floor", "0", "1"}));
    EXPECT_TRUE(refuses([&] { needs(options(8, 4, 5, Pooling::avg, 1.5)); }, {"ada_kv", "floor", "1"}));
    EXPECT_TRUE(refuses([&] { needs(options(8, 4, 5, Pooling::avg, nan)); }, {"ada_kv", "floor", "nan"}));
}

}  // namespace
}  // namespace attenta_test
