// Every linear attention equals its definition, which stands on top of its own test.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "linear/support/compare.hpp"
#include "linear/support/suite.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

class LinearDefinition : public LinearSuite {};
ATTENTA_LINEAR_SUITE(LinearDefinition);

const std::vector<std::int64_t> lengths = {1, 2, 3, 5, 16, 17, 63, 64, 65, 130, 200};
const std::vector<std::int64_t> widths = {1, 7, 8, 16, 24, 33, 64, 128};

/// Hq, Hk, Hv: plain, grouped queries, grouped values, both, and fewer queries or values than keys.
const std::vector<LinearShape> groups = {{1, 1, 1}, {2, 2, 2}, {4, 2, 2}, {2, 2, 4}, {4, 1, 2},
                                         {3, 1, 3}, {2, 4, 4}, {6, 3, 1}, {1, 1, 3}, {8, 2, 4}};

/// Lengths, gates and options in turn; widths, heads, layouts and the past by chance.
TEST_P(LinearDefinition, HoldsForAwkwardShapesLayoutsGatesAndOptions) {
    std::vector<LinearCase> cases;
    for (std::size_t i = 0; i < 16 * lengths.size(); ++i) {
        Random random(i);
        LinearShape s = random.pick(groups);
        s.T = lengths[i % lengths.size()], s.D = random.pick(widths), s.Dv = random.pick(widths);
        const Order order = random.chance(0.5) ? Order::head_token : Order::token_head;
        cases.push_back(linear_case(*GetParam(), s, static_cast<Gates>(i / lengths.size() % 4),
                                    i % GetParam()->variants.size(), random.chance(0.5), i, order,
                                    random.pick<std::int64_t>({0, 0, 3, 16})));
    }
    expect_definition(cases);
}

TEST_P(LinearDefinition, HoldsForEachOptionAlone) {
    std::vector<LinearCase> cases;
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const std::int64_t T : {1, 6, 150})
            for (const bool past : {false, true})
                cases.push_back(linear_case(*GetParam(), {4, 2, 2, T, 24, 20}, Gates::mild, variant, past));
    expect_definition(cases);
}

TEST_P(LinearDefinition, HoldsForAllGatesAtEveryLengthAroundAChunk) {
    std::vector<LinearCase> cases;
    for (const Gates gates : {Gates::mild, Gates::strong, Gates::closed, Gates::zero})
        for (const std::int64_t T : {15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 127, 128, 129, 1000})
            cases.push_back(linear_case(*GetParam(), {2, 2, 2, T, 16, 9}, gates, 0, true, 7));
    expect_definition(cases);
}

TEST_P(LinearDefinition, HoldsForWideStates) {
    std::vector<LinearCase> cases;
    for (const Gates gates : {Gates::mild, Gates::strong, Gates::closed, Gates::zero}) {
        cases.push_back(linear_case(*GetParam(), {2, 1, 1, 200, 128, 128}, gates, 0, true));
        cases.push_back(linear_case(*GetParam(), {1, 1, 2, 70, 64, 130}, gates));
        cases.push_back(linear_case(*GetParam(), {4, 2, 4, 1, 128, 128}, gates, 0, true));
        cases.push_back(linear_case(*GetParam(), {1, 1, 1, 70, 256, 200}, gates, 0, true));
    }
    expect_definition(cases);
}

/// States of one channel, where a gate per channel looks like a gate per token.
TEST_P(LinearDefinition, HoldsForOneChannel) {
    std::vector<LinearCase> cases;
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const std::int64_t T : {1, 5, 80})
            for (const std::int64_t Dv : {1, 16})
                cases.push_back(
                    linear_case(*GetParam(), {2, 1, 1, T, 1, Dv}, static_cast<Gates>(variant % 4), variant, true));
    expect_definition(cases);
}

TEST_P(LinearDefinition, HoldsForManyHeads) {
    std::vector<LinearCase> cases;
    for (std::size_t variant = 0; variant < GetParam()->variants.size(); ++variant)
        for (const std::int64_t T : {1, 9})
            cases.push_back(linear_case(*GetParam(), {260, 130, 130, T, 8, 4}, Gates::mild, variant, true));
    expect_definition(cases);
}

/// Stride 0: all heads, or all tokens, share the memory of one.
TEST_P(LinearDefinition, HoldsForBroadcastInputs) {
    const LinearCase c = linear_case(*GetParam(), {4, 2, 2, 70, 24, 9}, Gates::mild, 0, true);
    std::vector<LinearViews> views;
    for (const auto& [name, x] : c.inputs) {
        if (x.tensor.view().heads > 1) views.emplace_back(c.views()).at(name).head_stride = 0;
        if (x.along != Along::nothing) views.emplace_back(c.views()).at(name).token_stride = 0;
    }
    for (const LinearViews& v : views) {
        const NaiveLinear want = naive(c, v);
        on_every_isa([&](Context& context) {
            EXPECT_TRUE(close(attend(c, v, c.options, c.queries(), c.past, context), want)) << describe(c);
        });
    }
}

}  // namespace
}  // namespace attenta_test
