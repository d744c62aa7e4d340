#include <attenta/kv/policies/pyramidkv.hpp>

#include <cmath>

#include "kv/support/policy.hpp"
#include "kv/support/window.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::GroupScore, attenta::Pooling, attenta::Pyramidkv, attenta::PyramidkvOptions, attenta::PyramidRounding;

/// Tokens that a layer keeps of P: the authors' integers, or real numbers rounded once.
std::int64_t capacity(std::int64_t P, const PyramidkvOptions& o) {
    if (o.rounding == PyramidRounding::floor) {
        const std::int64_t c = o.budget - o.window;
        std::int64_t low = c / o.beta, high = 2 * c - low;
        if (high >= P - o.window) high = P - o.window, low = 2 * c - high;
        if (P < o.budget) return P;
        if (P < 2 * c) return c + o.window;
        return high - o.layer * ((high - low) / (o.layers - 1)) + o.window;
    }
    const double B = static_cast<double>(o.budget), most = static_cast<double>(P - o.window);
    double low = B / static_cast<double>(o.beta), high = 2 * B - low;
    if (high >= most) high = most, low = 2 * B - high;
    if (!(static_cast<double>(P) >= high && high >= low && low >= static_cast<double>(o.window))) return o.budget;
    return std::lrint(high - static_cast<double>(o.layer) * (high - low) / static_cast<double>(o.layers - 1));
}

/// SnapKV with that budget, after the prompt alone.
std::vector<Positions> pyramidkv(const NaiveCache& c, const PyramidkvOptions& o) {
    std::vector<Positions> kept = c.kept;
    const std::int64_t keep = capacity(c.prompt(), o);
    if (c.seen > c.prompt() || c.seen <= keep) return kept;
    for (std::int64_t g = 0; g < std::ssize(kept); ++g) {
        const auto [before, window] = c.without_recent(g, o.window);
        kept[NaiveCache::u(g)] = c.together(c.top(naive_window_scores(c, g, o), before, keep - o.window), window);
    }
    return kept;
}

PyramidkvOptions options(std::int64_t budget, std::int64_t window, std::int64_t layer, std::int64_t layers,
                         std::int64_t beta, PyramidRounding rounding = PyramidRounding::floor) {
    PyramidkvOptions o;
    o.window = window, o.kernel = 3, o.budget = budget, o.layer = layer, o.layers = layers, o.beta = beta,
    o.rounding = rounding;
    return o;
}
PyramidkvOptions pooled(PyramidkvOptions o, Pooling pooling, GroupScore group) {
    o.pooling = pooling, o.group = group;
    return o;
}

[[maybe_unused]] const auto& policy = test_policy<Pyramidkv, pyramidkv>(
    "pyramidkv", {{"lowest layer", options(16, 5, 0, 6, 20)},
                  {"highest layer", pooled(options(17, 5, 5, 6, 3), Pooling::max, GroupScore::sum)},
                  {"real", options(15, 4, 2, 5, 3, PyramidRounding::real)},
                  {"real, window too wide", options(12, 10, 1, 3, 20, PyramidRounding::real)}});

TEST(Pyramidkv, CapacitiesFallAndKeepTheBudgetOnAverage) {
    for (const auto rounding : {PyramidRounding::floor, PyramidRounding::real}) {
        std::int64_t before = 1000, sum = 0;
        for (std::int64_t layer = 0; layer < 8; ++layer) {
            const std::int64_t n = Pyramidkv(options(128, 6, layer, 8, 10, rounding)).capacity(1000);
            EXPECT_EQ(n, capacity(1000, options(128, 6, layer, 8, 10, rounding)));
            EXPECT_LT(n, before);
            before = n, sum += n;
        }
        EXPECT_NEAR(static_cast<double>(sum) / 8, 128, 4);
    }
    EXPECT_EQ(Pyramidkv(options(128, 6, 0, 8, 10)).capacity(100), 100);
    EXPECT_EQ(Pyramidkv(options(std::int64_t{1} << 62, 6, 0, 8, 10)).capacity(100), 100);
}

TEST(Pyramidkv, RefusesLayersThatDoNotFit) {
    const auto needs = [](const PyramidkvOptions& o) { Pyramidkv(o).needs({4, 2, 16, 16}); };
    EXPECT_TRUE(refuses([&] { needs(options(8, 8, 0, 4, 20)); }, {"pyramidkv", "window", "8"}));
    EXPECT_TRUE(refuses([&] { needs(options(8, 4, 4, 4, 20)); }, {"pyramidkv", "layer", "4"}));
    EXPECT_TRUE(refuses([&] { needs(options(8, 4, -1, 4, 20)); }, {"pyramidkv", "layer", "-1"}));
    EXPECT_TRUE(refuses([&] { needs(options(8, 4, 0, 1, 20)); }, {"pyramidkv", "layers", "1", "2"}));
    EXPECT_TRUE(refuses([&] { Pyramidkv(options(8, 4, 0, 4, 0)).capacity(9); }, {"pyramidkv", "beta", "0", "1"}));
}

}  // namespace
}  // namespace attenta_test
