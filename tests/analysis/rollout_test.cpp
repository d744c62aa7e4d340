// Rollout equals its definition; rows of a rollout sum to 1; its own errors.
#include <attenta/analysis/rollout.hpp>

#include "analysis/support/layers.hpp"

namespace attenta_test {
namespace {

using analysis::RolloutInputs, analysis::RolloutOptions;
constexpr auto call = &analysis::rollout;

Values definition(const RolloutInputs& x, const RolloutOptions& options) {
    const std::int64_t layers = x.attn.size(0), heads = x.attn.size(1), n = x.attn.size(2);
    Values want;
    std::vector<Square> means = mean_layers(x.attn, options.residual);
    Square below = identity(n);
    for (std::int64_t l = 0; l < layers; ++l) {
        for (std::int64_t h = 0; h < heads; ++h)
            append(want["head_rollout"], mixed(head_of(x.attn, l, h), options.residual) * below);
        below = means[static_cast<std::size_t>(l)] * below;
        append(want["rollout"], below);
        for (std::int64_t j = 0; j < n; ++j) {
            double largest = 0;
            for (std::int64_t i = 0; i < n; ++i) largest = std::max(largest, below(i, j));
            want["relevance"].push_back(largest);
        }
    }
    return want;
}

TEST(Rollout, EqualsItsDefinition) {
    Memory memory;
    for (const auto& sizes : {std::array<std::int64_t, 4>{1, 1, 1, 1}, {1, 3, 5, 5}, {3, 2, 17, 17}, {4, 5, 70, 70}})
        for (const bool causal : {false, true})
            for (const double residual : {0.5, 0.0, 1.0, 0.3}) {
                const RolloutInputs x{memory.weights(sizes, causal)};
                expect_values<call>(x, {residual}, definition(x, {residual}));
            }
}

TEST(Rollout, KeepsNanInItsRows) {
    Memory memory;
    auto weights = memory.weights<4>({2, 1, 9, 9});
    const_cast<float*>(weights.data)[9 * 9 + 4 * 9 + 2] = std::nanf("");  // row 4 of the upper layer
    on_every_isa([&](Context& context) {
        Outputs<call> out({weights}, {});
        analysis::rollout({weights}, out.list, {}, context);
        const auto rolled = out.values().at("rollout");
        for (std::size_t i = 0; i < rolled.size(); ++i) EXPECT_EQ(std::isnan(rolled[i]), i / 9 == 9 + 4) << i;
    });
}

TEST(Rollout, OfOneRowIsThatOfAll) {
    Memory memory;
    for (const auto& sizes : {std::array<std::int64_t, 4>{1, 1, 1, 1}, {1, 3, 5, 5}, {3, 2, 17, 17}, {4, 5, 70, 70}})
        for (const bool causal : {false, true})
            for (const double residual : {0.5, 0.0, 1.0}) {
                const RolloutInputs x{memory.weights(sizes, causal)};
                const std::vector<double> all = definition(x, {residual}).at("rollout");
                const std::int64_t n = sizes[3];
                std::vector<float> row(static_cast<std::size_t>(n));
                for (const std::int64_t i : {std::int64_t{0}, n / 2, n - 1}) {
                    analysis::rollout_row(x, i, row, {residual});
                    for (std::int64_t j = 0; j < n; ++j)
                        EXPECT_NEAR(row[static_cast<std::size_t>(j)],
                                    all[static_cast<std::size_t>(((sizes[0] - 1) * n + i) * n + j)], 1e-6);
                }
            }
}

TEST(Rollout, OfOneRowPassesByNanThatItDoesNotMeet) {
    Memory memory;
    auto weights = memory.weights<4>({2, 1, 9, 9}, true);
    const_cast<float*>(weights.data)[9 * 9 + 4 * 9 + 2] = std::nanf("");  // row 4 of the upper layer
    std::vector<float> row(9);
    for (const std::int64_t i : {3, 4, 5}) {
        analysis::rollout_row({weights}, i, row);
        for (const float e : row) EXPECT_EQ(std::isnan(e), i == 4) << i;
    }
}

TEST(RolloutErrors, OfOneRow) {
    Memory memory;
    auto weights = memory.weights<4>({2, 3, 7, 7});
    std::vector<float> row(7);
    EXPECT_TRUE(refuses([&] { analysis::rollout_row({weights}, 7, row); }, {"rollout_row", "position", "7"}));
    EXPECT_TRUE(refuses([&] { analysis::rollout_row({weights}, -1, row); }, {"rollout_row", "position"}));
    EXPECT_TRUE(refuses([&] { analysis::rollout_row({weights}, 1, std::span(row).first(6)); },
                        {"rollout_row", "row", "6", "7"}));
    EXPECT_TRUE(refuses([&] { analysis::rollout_row({weights}, 1, row, {2}); }, {"rollout_row", "residual"}));
    EXPECT_TRUE(refuses(
        [&] {
            analysis::rollout_row({weights}, 1, {const_cast<float*>(weights.data), 7});
        },
        {"rollout_row", "row", "attn"}));
    weights.sizes[2] = 6;
    EXPECT_TRUE(refuses([&] { analysis::rollout_row({weights}, 1, row); }, {"rollout_row", "attn"}));
}

TEST(RolloutErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const RolloutInputs x{memory.weights<4>({2, 3, 7, 7})};
    expect_bad_tensors_refused<call>(x, {});
    EXPECT_TRUE(
        refuses_inputs<call>(x, {}, [](RolloutInputs& in) { in.attn.sizes[2] = 6; }, {"rollout", "attn", "6", "7"}));
    for (const double residual : {-0.1, 1.5, std::nan("")})
        EXPECT_TRUE(
            refuses_options<call>(x, {}, [&](RolloutOptions& o) { o.residual = residual; }, {"rollout", "residual"}));
}

}  // namespace
}  // namespace attenta_test
