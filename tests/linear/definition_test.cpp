// Every linear attention equals its definition (support/naive_recurrent.hpp, naive_delta.hpp, naive_features.hpp).
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "linear/support/naive_linear_compare.hpp"
#include "linear/support/naive_linear_suite.hpp"
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

void expect_definition(const std::vector<LinearCase>& cases) {
    std::vector<NaiveLinear> want;
    for (const LinearCase& c : cases) want.push_back(naive(c));
    on_every_isa([&](Context& context) {
        for (std::size_t i = 0; i < cases.size(); ++i)
            EXPECT_TRUE(close(attend(cases[i], context), want[i])) << describe(cases[i]);
    });
}

/// Lengths, gates and options in turn; widths, heads, layouts and the past by chance.
TEST_P(LinearDefinition, HoldsForAwkwardShapesLayoutsGatesAndOptions) {
    std::vector<LinearCase> cases;
    for (std::size_t i = 0; i < 16 * lengths.size(); ++i) {
        Random random(i);
        LinearShape s = random.pick(groups);
        s.T = lengths[i % lengths.size()], s.D = random.pick(widths), s.Dv = random.pick(widths);
        const Order order = random.chance(0.5) ? Order::head_token : Order::token_head;
        cases.push_back(linear_case(GetParam(), s, static_cast<Gates>(i / lengths.size() % 4),
                                    i % GetParam().variants.size(), random.chance(0.5), i, order,
                                    random.pick<std::int64_t>({0, 0, 3, 16})));
    }
    expect_definition(cases);
}

TEST_P(LinearDefinition, HoldsForEachOptionAlone) {
    std::vector<LinearCase> cases;
    for (std::size_t variant = 0; variant < GetParam().variants.size(); ++variant)
        for (const std::int64_t T : {1, 6, 150})
            for (const bool past : {false, true})
                cases.push_back(linear_case(GetParam(), {4, 2, 2, T, 24, 20}, Gates::mild, variant, past));
    expect_definition(cases);
}

TEST_P(LinearDefinition, HoldsForAllGatesAtEveryLengthAroundAChunk) {
    std::vector<LinearCase> cases;
    for (const Gates gates : {Gates::mild, Gates::strong, Gates::closed, Gates::zero})
        for (const std::int64_t T : {15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 127, 128, 129, 1000})
            cases.push_back(linear_case(GetParam(), {2, 2, 2, T, 16, 9}, gates, 0, true, 7));
    expect_definition(cases);
}

TEST_P(LinearDefinition, HoldsForWideStates) {
    std::vector<LinearCase> cases;
    for (const Gates gates : {Gates::mild, Gates::strong, Gates::closed, Gates::zero}) {
        cases.push_back(linear_case(GetParam(), {2, 1, 1, 200, 128, 128}, gates, 0, true));
        cases.push_back(linear_case(GetParam(), {1, 1, 2, 70, 64, 130}, gates));
        cases.push_back(linear_case(GetParam(), {4, 2, 4, 1, 128, 128}, gates, 0, true));
        cases.push_back(linear_case(GetParam(), {1, 1, 1, 70, 256, 200}, gates, 0, true));
    }
    expect_definition(cases);
}

/// States of one channel, where a gate per channel looks like a gate per token.
TEST_P(LinearDefinition, HoldsForOneChannel) {
    std::vector<LinearCase> cases;
    for (std::size_t variant = 0; variant < GetParam().variants.size(); ++variant)
        for (const std::int64_t T : {1, 5, 80})
            for (const std::int64_t Dv : {1, 16})
                cases.push_back(
                    linear_case(GetParam(), {2, 1, 1, T, 1, Dv}, static_cast<Gates>(variant % 4), variant, true));
    expect_definition(cases);
}

TEST_P(LinearDefinition, HoldsForManyHeads) {
    std::vector<LinearCase> cases;
    for (std::size_t variant = 0; variant < GetParam().variants.size(); ++variant)
        for (const std::int64_t T : {1, 9})
            cases.push_back(linear_case(GetParam(), {260, 130, 130, T, 8, 4}, Gates::mild, variant, true));
    expect_definition(cases);
}

/// Stride 0: all heads, or all tokens, share the memory of one.
TEST_P(LinearDefinition, HoldsForBroadcastInputs) {
    const LinearCase c = linear_case(GetParam(), {4, 2, 2, 70, 24, 9}, Gates::mild, 0, true);
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

/// The first keys of a causal call are history, in chunks of their own.
TEST(LinearDefinitionOfHistory, HoldsForAnyNumberOfQueries) {
    std::vector<LinearCase> cases;
    for (const LinearMechanism& m : {kernel_linear_mechanism(), performer_mechanism()})
        for (const std::int64_t T : {5, 40, 100})
            for (std::int64_t queries = 1; queries <= T; queries += 7) {
                LinearCase c = linear_case(m, {4, 2, 2, T, 12, 9}, Gates::mild, 0, true);
                set_queries(c, queries);
                cases.push_back(std::move(c));
            }
    expect_definition(cases);
}

/// exp of keys that lie further apart than the exponents of a float: a large key may not drown those before it, which
/// early queries read alone, nor those of other channels.
TEST(LinearDefinitionOfExp, HoldsForKeysFarApart) {
    std::vector<LinearCase> cases;
    for (const std::int64_t T : {3, 40, 150})
        for (const bool past : {false, true}) {
            LinearCase c = linear_case(kernel_linear_mechanism(), {2, 1, 1, T, 16, 9}, Gates::mild, 0, past);
            options_of<attenta::KernelLinearOptions>(c).feature = attenta::KernelFeature::exp;
            const Tensor<float>&k = c.inputs.find("k")->second.tensor, &q = c.inputs.find("q")->second.tensor;
            k.each_row([&](float* row, std::int64_t, std::int64_t t) {
                for (std::int64_t d = 0; d < 16; ++d) row[d] += t + 1 < T ? -40.0f : 50.0f;
            });
            q.each_row([&](float* row, std::int64_t, std::int64_t) {
                for (std::int64_t d = 0; d < 16; ++d) row[d] += 40.0f;
            });
            if (past)
                for (std::vector<float>* x : {&c.past.matrix, &c.past.normalizer})
                    for (float& e : *x) e *= 1e-17f;
            c.words += ", keys far apart";
            cases.push_back(std::move(c));
        }
    expect_definition(cases);
}

/// exp of queries and keys whose channels lie apart in different ways: which channel counts changes from key to key.
TEST(LinearDefinitionOfExp, HoldsForChannelsFarApart) {
    std::vector<LinearCase> cases;
    for (const std::size_t variant : {5, 6, 21})  // causal, not causal, causal with history
        for (const std::int64_t T : {1, 3, 40, 150})
            for (const bool past : {false, true})
                for (std::uint64_t seed = 0; seed < 4; ++seed) {
                    LinearCase c =
                        linear_case(kernel_linear_mechanism(), {4, 2, 2, T, 12, 9}, Gates::mild, variant, past, seed);
                    options_of<attenta::KernelLinearOptions>(c).feature = attenta::KernelFeature::exp;
                    // Queries are largest where keys are small.
                    for (const auto& [name, sign] : {std::pair{"q", 1}, {"k", -1}})
                        c.inputs.find(name)->second.tensor.each_row([&](float* row, std::int64_t, std::int64_t) {
                            for (std::int64_t d = 0; d < 12; ++d) {
                                const double x = 75 * c.random.uniform();
                                row[d] = static_cast<float>(d % 2 == 0 ? sign * x : -sign * x);
                            }
                        });
                    c.words += ", channels far apart";
                    cases.push_back(std::move(c));
                }
    expect_definition(cases);
}

/// One head, keys of value 1 and 0 in turn.
struct ExpCall {
    std::vector<float> q, k;
    attenta::KernelLinearOptions options{.feature = attenta::KernelFeature::exp};

    float run(Context& context) const {
        const std::int64_t D = static_cast<std::int64_t>(q.size()), T = static_cast<std::int64_t>(k.size()) / D;
        std::vector<float> v, o(1);
        for (std::int64_t t = 0; t < T; ++t) v.push_back(t % 2 == 0 ? 1.0f : 0.0f);
        LinearState state;
        attenta::kernel_linear(attenta::hnd(q.data(), 1, 1, D), attenta::hnd(k.data(), 1, T, D),
                               attenta::hnd<const float>(v.data(), 1, T, 1), attenta::hnd(o.data(), 1, 1, 1), state,
                               options, context);
        return o[0];
    }
};

TEST(LinearDefinitionOfExp, HoldsForWideQueries) {
    on_every_isa([](Context& context) {
        // e^0 + e^-20 against e^-45 + e^-5
        EXPECT_NEAR((ExpCall{{-45, 45}, {45, -65, 0, -50}}.run(context)), 1 / (1 + std::exp(-5.0)), 1e-6);
        // The same weights: what is added to queries goes off keys, and a query of any size is a softmax of keys.
        EXPECT_NEAR((ExpCall{{-90, 90}, {90, -110, 45, -95}}.run(context)), 1 / (1 + std::exp(-5.0)), 1e-6);
        EXPECT_NEAR((ExpCall{{-400, 400}, {400, -420, 355, -405}}.run(context)), 1 / (1 + std::exp(-5.0)), 1e-6);
        EXPECT_NEAR((ExpCall{{5000, 4990}, {-3, 7, -3, 8}}.run(context)),
                    (std::exp(-3.0) + std::exp(-3.0)) / (2 * std::exp(-3.0) + std::exp(-3.0) + std::exp(-2.0)), 1e-6);
        ExpCall small{{-5000, -5010}, {-3, 7, -3, 8}};
        small.options.eps = 0;
        EXPECT_NEAR(small.run(context),
                    (std::exp(-3.0) + std::exp(-3.0)) / (2 * std::exp(-3.0) + std::exp(-3.0) + std::exp(-2.0)), 1e-6);
    });
}

/// Without a denominator, and with one far below eps, small results are small, not 0.
TEST(LinearDefinitionOfExp, HoldsForSmallSums) {
    on_every_isa([](Context& context) {
        for (const float x : {-80.0f, -60.0f, -40.0f, 0.0f, 40.0f, 80.0f}) {
            const double e = std::exp(double{x});
            ExpCall plain{{x, x}, {0, 0, 0, 0}};
            plain.options.normalize = false;
            EXPECT_NEAR(plain.run(context), 2 * e, 1e-5 * e) << x;
            if (x > 0) continue;
            EXPECT_NEAR((ExpCall{{x, x}, {0, 0, 0, 0}}.run(context)), 2 * e / (4 * e + 1e-6), 1e-5 * e / (4 * e + 1e-6))
                << x;
        }
    });
}

/// A NaN key spoils its own features; those of the keys beside it are relative to the largest of the others.
TEST(LinearDefinitionOfPerformer, HoldsBesideANanKey) {
    for (const std::int64_t at : {0, 5, 32}) {
        LinearCase c = linear_case(performer_mechanism(), {2, 2, 2, 40, 12, 9}, Gates::mild, 9);
        const Tensor<float>& k = c.inputs.find("k")->second.tensor;
        k.row(0, at)[3] = std::numeric_limits<float>::quiet_NaN();
        const NaiveLinear want = naive(c);
        on_every_isa([&](Context& context) {
            const LinearOutput got = attend(c, context);
            ASSERT_EQ(got.state.key_max.size(), want.key_max.size());
            for (std::size_t h = 0; h < want.key_max.size(); ++h)
                EXPECT_NEAR(double{got.state.key_max[h]}, want.key_max[h], 1e-4 * want.key_max[h]) << "NaN at " << at;
        });
    }
}

/// A state without a normalizer serves calls that do not divide, and one that has it keeps it right.
TEST(LinearDefinitionOfKernelLinear, ANormalizerIsNeededOnlyToDivide) {
    for (const attenta::KernelFeature feature : {attenta::KernelFeature::identity, attenta::KernelFeature::exp})
        for (const std::int64_t T : {1, 40}) {
            LinearCase c = linear_case(kernel_linear_mechanism(), {4, 2, 2, T, 12, 9}, Gates::mild, 10, true);
            options_of<attenta::KernelLinearOptions>(c).feature = feature;
            const NaiveLinear want = naive(c);
            LinearCase bare = c.copy();
            bare.past.normalizer.clear();
            NaiveLinear without = want;
            without.normalizer.clear();
            on_every_isa([&](Context& context) {
                EXPECT_TRUE(close(attend(c, context), want)) << describe(c);
                EXPECT_TRUE(close(attend(bare, context), without)) << describe(bare);
            });
        }
}

}  // namespace
}  // namespace attenta_test
