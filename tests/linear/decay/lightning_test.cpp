// Lightning attention equals its definition; its decays; its own errors.
#include <attenta/linear/decay/lightning.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "linear/support/spoiled.hpp"

namespace attenta_test {
namespace {

/// ALiBi's slopes; for H not a power of two those of the power below, then every second one of the power above.
std::vector<double> naive_geometric(std::int64_t H) {
    std::int64_t n = 1;
    while (2 * n <= H) n *= 2;
    std::vector<double> s;
    for (std::int64_t i = 1; i <= n; ++i)
        s.push_back(std::exp2(-8.0 * static_cast<double>(i) / static_cast<double>(n)));
    for (std::int64_t i = 1; static_cast<std::int64_t>(s.size()) < H; i += 2)
        s.push_back(std::exp2(-8.0 * static_cast<double>(i) / static_cast<double>(2 * n)));
    return s;
}

//   geometric: −s_h (1 − layer/(num_layers−1) + 1e-5),   linear: −(8h/H)(1 − layer/num_layers)
std::vector<double> naive_lightning_decay(std::int64_t H, const attenta::LightningOptions& x) {
    const bool geometric = x.slopes == attenta::LightningSlopes::geometric;
    const auto layer = static_cast<double>(x.layer), layers = static_cast<double>(x.num_layers.value_or(0));
    const double factor = !x.num_layers ? 1 : geometric ? 1 - layer / (layers - 1) + 1e-5 : 1 - layer / layers;
    std::vector<double> g = naive_geometric(H);
    for (std::int64_t h = 0; h < H && !geometric; ++h)
        g.data()[h] = 8 * static_cast<double>(h) / static_cast<double>(H);
    for (double& e : g) e *= -factor;
    return g;
}

//   S_t = λ S_{t-1} + k_t v_tᵀ,   o_t = scale · S_tᵀ q_t,   λ = exp(g) per head
NaiveLinear naive_lightning(const attenta::LightningInputs& in, const attenta::LightningOptions& x,
                            const LinearState& past) {
    const auto& [q, k, v, g] = in;
    const std::int64_t most = std::max({q.heads, k.heads, v.heads});
    const std::vector<double> decay = naive_head_decay(g, naive_lightning_decay(most, x));
    const std::int64_t hs = std::max({k.heads, v.heads, static_cast<std::int64_t>(decay.size())});
    NaiveLinear r = naive_start(std::max(q.heads, hs), q.tokens, hs, q.dim, v.dim, past);
    for (std::int64_t h = 0; h < hs; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            naive_multiply(r, h, std::exp(decay.data()[h]));
            naive_add(r, h, naive_row(k, h, hs, t), naive_row(v, h, hs, t));
            naive_output(r, h, q, t, double{x.scale});
        }
    return r;
}

using Options = attenta::LightningOptions;
const LinearMechanism& lightning = test_linear<&attenta::lightning, naive_lightning>(
    {"lightning",
     {{"given decay", [](LinearCase& c) { c.put_gates("g", Along::nothing, state_heads(c), 1); }},
      {"a given decay for each query head", [](LinearCase& c) { c.put_gates("g", Along::nothing, most_heads(c), 1); }},
      {"layer 1 of 4", [](LinearCase& c) { options_of<Options>(c).layer = 1, options_of<Options>(c).num_layers = 4; }},
      {"the last layer",
       [](LinearCase& c) { options_of<Options>(c).layer = 3, options_of<Options>(c).num_layers = 4; }},
      {"linear slopes", [](LinearCase& c) { options_of<Options>(c).slopes = attenta::LightningSlopes::linear; }},
      {"linear slopes, layer 2 of 8",
       [](LinearCase& c) {
           options_of<Options>(c).slopes = attenta::LightningSlopes::linear;
           options_of<Options>(c).layer = 2, options_of<Options>(c).num_layers = 8;
       }},
      {"scale -0.5", [](LinearCase& c) { options_of<Options>(c).scale = -0.5f; }}}});

using attenta::LightningSlopes;

void expect_decays(const attenta::LightningOptions& options) {
    for (const std::int64_t heads : {1, 2, 3, 4, 6, 8, 12, 14, 16, 24, 40, 64}) {
        const std::vector<float> got = attenta::lightning_decay(heads, options);
        const std::vector<double> want = naive_lightning_decay(heads, options);
        ASSERT_EQ(got.size(), want.size());
        for (std::size_t h = 0; h < want.size(); ++h)
            EXPECT_NEAR(double{got[h]}, want[h], 2e-7 * std::abs(want[h])) << heads << " heads, head " << h;
    }
}

TEST(Lightning, DecaysAreGeometricOrLinear) {
    for (const LightningSlopes slopes : {LightningSlopes::geometric, LightningSlopes::linear}) {
        expect_decays({.slopes = slopes});
        for (const std::int64_t layer : {0, 1, 23}) expect_decays({.slopes = slopes, .layer = layer, .num_layers = 24});
    }
    expect_decays({.slopes = LightningSlopes::linear, .layer = 0, .num_layers = 1});
}

TEST(Lightning, DecaysOfKnownHeads) {
    const std::vector<float> eight = attenta::lightning_decay(8), six = attenta::lightning_decay(6);
    EXPECT_EQ(eight.front(), -0.5f);
    EXPECT_EQ(eight.back(), -0x1p-8f);
    const float want[] = {-0x1p-2f, -0x1p-4f, -0x1p-6f, -0x1p-8f, -0x1p-1f, -0x1p-3f};
    for (std::size_t h = 0; h < 6; ++h) EXPECT_FLOAT_EQ(six[h], want[h]);
    EXPECT_EQ(attenta::lightning_decay(4, {.slopes = LightningSlopes::linear}), (std::vector<float>{0, -2, -4, -6}));
}

TEST(LightningErrors, HeadsAndWidths) { expect_errors_of_free_heads(lightning); }

TEST(LightningErrors, DecaysAndLayers) {
    const OwnErrors errors(lightning);
    const std::size_t given = 1;
    EXPECT_TRUE(errors.refused(
        {"g", "1", "2"}, [](Call& c) { c.x.at("g").heads = 1; }, given));
    EXPECT_TRUE(errors.refused(
        {"3"}, [](Call& c) { c.x.at("g").heads = 3; }, given));
    EXPECT_TRUE(errors.refused(
        {"g", "6", "1"}, [](Call& c) { c.x.at("g").tokens = 6; }, given));
    EXPECT_TRUE(errors.refused(
        {"g", "16", "1"}, [](Call& c) { c.x.at("g").dim = 16; }, given));
    EXPECT_TRUE(errors.refused({"layer", "-1"}, [](Call& c) { c.options<Options>().layer = -1; }));
    EXPECT_TRUE(errors.refused(
        {"layer", "4"}, [](Call& c) { c.options<Options>().layer = c.options<Options>().num_layers.emplace(4); }));
    EXPECT_TRUE(errors.refused({"num_layers", "1"}, [](Call& c) { c.options<Options>().num_layers = 1; }));
    EXPECT_TRUE(errors.refused({"num_layers", "0"}, [](Call& c) { c.options<Options>().num_layers = 0; }));
    EXPECT_TRUE(refuses([] { attenta::lightning_decay(8, {.layer = 5, .num_layers = 5}); }, {"layer", "5"}));
    EXPECT_TRUE(refuses([] { attenta::lightning_decay(8, {.num_layers = 1}); }, {"num_layers", "1"}));
    EXPECT_TRUE(refuses([] { attenta::lightning_decay(0); }, {"heads", "0"}));
}

}  // namespace
}  // namespace attenta_test
