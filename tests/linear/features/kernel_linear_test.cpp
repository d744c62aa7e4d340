// Linear attention with feature maps equals its definition; keys and queries of exp of any size; its own errors.
#include <attenta/linear/features/kernel_linear.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

#include "linear/support/naive_features.hpp"

namespace attenta_test {
namespace {

Row naive_kernel_feature(Row x, std::int64_t position, double length, attenta::KernelFeature feature) {
    using attenta::KernelFeature;
    const std::size_t D = x.size();
    const double largest = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (const double e : x) sum += std::exp(e - largest);
    for (double& e : x) switch (feature) {
            case KernelFeature::elu1:
                e = e > 0 ? e + 1 : std::exp(e);
                break;
            case KernelFeature::relu:
                e = std::max(e, 0.0);
                break;
            case KernelFeature::squared_relu:
                e = std::max(e, 0.0) * std::max(e, 0.0);
                break;
            case KernelFeature::exp:
                e = std::exp(e);
                break;
            case KernelFeature::identity:
                break;
            case KernelFeature::softmax:
                e = std::exp(e - largest) / sum;
                break;
            case KernelFeature::cos:
                e = std::max(e, 0.0);
                break;
        }
    if (feature != KernelFeature::cos) return x;
    const double angle = std::numbers::pi / 2 * static_cast<double>(position + 1) / length;
    x.resize(2 * D);
    for (std::size_t d = 0; d < D; ++d) x[D + d] = x[d] * std::sin(angle), x[d] *= std::cos(angle);
    return x;
}

//   num_i = scale · φ(q_i) S,   den_i = scale · φ(q_i)·z,   o_i = num_i,  num_i / (den_i + eps)  or  num_i / max(den_i, eps)
NaiveLinear naive_kernel_linear(const attenta::KernelLinearInputs& in, const attenta::KernelLinearOptions& x,
                                const LinearState& past) {
    const auto& [q, k, v] = in;
    const auto length = static_cast<double>(x.cos_max_len.value_or(std::max(q.tokens, k.tokens)));
    const std::int64_t first = x.offset + (x.causal ? k.tokens - q.tokens : 0);
    return naive_feature_attention(
        q, k, v, x.feature == attenta::KernelFeature::cos ? 2 * q.dim : q.dim, x.causal, past,
        [&](std::int64_t h, std::int64_t i) {
            Row phi = naive_kernel_feature(naive_row(q, h, q.heads, i), first + i, length, x.feature);
            for (double& e : phi) e *= double{x.scale};
            return phi;
        },
        [&](std::int64_t h, std::int64_t j) {
            return naive_kernel_feature(naive_row(k, h, k.heads, j), x.offset + j, length, x.feature);
        },
        [&](Row& num, double den) {
            const double eps = double{x.eps};
            den = !x.normalize ? 1 : x.denominator == attenta::KernelDenominator::add ? den + eps : std::max(den, eps);
            for (double& e : num) e /= den;
        });
}

using Options = attenta::KernelLinearOptions;
using enum attenta::KernelFeature;
constexpr float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();

template <attenta::KernelFeature feature, bool causal>
void set_feature(LinearCase& c) {
    options_of<attenta::KernelLinearOptions>(c).feature = feature;
    options_of<attenta::KernelLinearOptions>(c).causal = causal;
}

template <bool causal>
void set_large_exp(LinearCase& c) {
    set_feature<attenta::KernelFeature::exp, causal>(c);
    for (const char* name : {"q", "k"}) change(c, name, [](float x) { return std::clamp(12 * x, -45.0f, 45.0f); });
}

/// Cosines of positions that go on from earlier tokens: the length is the caller's.
void set_cos_offset(LinearCase& c) {
    set_feature<attenta::KernelFeature::cos, true>(c);
    options_of<attenta::KernelLinearOptions>(c).offset = 37;
    options_of<attenta::KernelLinearOptions>(c).cos_max_len = 37 + 2 * c.shape.T;
}

/// Cosines of a fixed length, so that parts of a sequence measure as the whole does.
void fix_length(LinearCase& c) {
    if (!options_of<Options>(c).cos_max_len) options_of<Options>(c).cos_max_len = c.shape.T;
}
void widen(LinearCase& c) {
    if (options_of<Options>(c).feature != elu1) return;
    for (const char* name : {"q", "k"}) change(c, name, [](float x) { return 1e14f * x; });
}

const LinearMechanism& kernel_linear = test_linear<&attenta::kernel_linear, naive_kernel_linear>(
    {.name = "kernel_linear",
     .variants = {{"not causal", set_feature<elu1, false>},
                  {"relu causal", set_feature<relu, true>},
                  {"relu", set_feature<relu, false>},
                  {"squared_relu causal", set_feature<squared_relu, true>},
                  {"exp causal", set_feature<exp, true>},
                  {"exp", set_feature<exp, false>},
                  {"large exp causal", set_large_exp<true>},
                  {"large exp", set_large_exp<false>},
                  // Sums of either sign would make the quotient as inexact as they are small.
                  {"identity of positive numbers",
                   [](LinearCase& c) {
                       set_feature<identity, true>(c);
                       for (const char* name : {"q", "k"}) change(c, name, [](float x) { return std::abs(x) + 0.1f; });
                   }},
                  {"identity, not normalised",
                   [](LinearCase& c) {
                       set_feature<identity, true>(c);
                       options_of<Options>(c).normalize = false, options_of<Options>(c).scale = -0.5f;
                   }},
                  {"softmax causal", set_feature<softmax, true>},
                  {"softmax", set_feature<softmax, false>},
                  {"cos", set_feature<cos, false>},
                  {"cos causal", set_feature<cos, true>},
                  {"cos causal, offset", set_cos_offset},
                  {"relu causal, clamp",
                   [](LinearCase& c) {
                       set_feature<relu, true>(c);
                       options_of<Options>(c).denominator = attenta::KernelDenominator::clamp;
                   }},
                  {"clamp, eps 20",
                   [](LinearCase& c) {
                       options_of<Options>(c).denominator = attenta::KernelDenominator::clamp;
                       options_of<Options>(c).eps = 20;
                   }},
                  {"eps 0", [](LinearCase& c) { options_of<Options>(c).eps = 0; }},
                  {"large exp, eps 1e4, clamp",
                   [](LinearCase& c) {
                       set_large_exp<true>(c);
                       options_of<Options>(c).denominator = attenta::KernelDenominator::clamp;
                       options_of<Options>(c).eps = 1e4f;
                   }},
                  {"scale 3, eps 2",
                   [](LinearCase& c) { options_of<Options>(c).scale = 3, options_of<Options>(c).eps = 2; }},
                  {"causal with history",
                   [](LinearCase& c) { set_queries(c, std::max<std::int64_t>(c.shape.T / 3, 1)); }},
                  {"cos causal with history",
                   [](LinearCase& c) {
                       set_feature<cos, true>(c);
                       set_queries(c, std::max<std::int64_t>(c.shape.T / 3, 1));
                   }},
                  {"more queries than keys",
                   [](LinearCase& c) {
                       set_feature<elu1, false>(c);
                       set_queries(c, c.shape.T + 5);
                   }}},
     .fill = [](LinearCase& c) { options_of<Options>(c).causal = true; },
     .has_history = true,
     .fix_length = fix_length,
     .can_be_cut = [](const LinearCase& c) { return options_of<Options>(c).causal; },
     .divides = [](const LinearCase& c) { return options_of<Options>(c).normalize; },
     .widen = widen});

/// The first keys of a causal call are history, in chunks of their own.
TEST(KernelLinear, HoldsForAnyNumberOfQueries) {
    std::vector<LinearCase> cases;
    for (const std::int64_t T : {5, 40, 100})
        for (std::int64_t queries = 1; queries <= T; queries += 7) {
            LinearCase c = linear_case(kernel_linear, {4, 2, 2, T, 12, 9}, Gates::mild, 0, true);
            set_queries(c, queries);
            cases.push_back(std::move(c));
        }
    expect_definition(cases);
}

/// exp of keys that lie further apart than the exponents of a float: a large key may not drown those before it, which
/// early queries read alone, nor those of other channels.
TEST(KernelLinearExp, HoldsForKeysFarApart) {
    std::vector<LinearCase> cases;
    for (const std::int64_t T : {3, 40, 150})
        for (const bool past : {false, true}) {
            LinearCase c = linear_case(kernel_linear, {2, 1, 1, T, 16, 9}, Gates::mild, 0, past);
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
TEST(KernelLinearExp, HoldsForChannelsFarApart) {
    std::vector<LinearCase> cases;
    for (const std::size_t variant : {5, 6, 21})  // causal, not causal, causal with history
        for (const std::int64_t T : {1, 3, 40, 150})
            for (const bool past : {false, true})
                for (std::uint64_t seed = 0; seed < 4; ++seed) {
                    LinearCase c = linear_case(kernel_linear, {4, 2, 2, T, 12, 9}, Gates::mild, variant, past, seed);
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
        attenta::kernel_linear({attenta::hnd(q.data(), 1, 1, D), attenta::hnd(k.data(), 1, T, D),
                                attenta::hnd<const float>(v.data(), 1, T, 1)},
                               attenta::hnd(o.data(), 1, 1, 1), state, options, context);
        return o[0];
    }
};

TEST(KernelLinearExp, HoldsForWideQueries) {
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
TEST(KernelLinearExp, HoldsForSmallSums) {
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

/// A state without a normalizer serves calls that do not divide, and one that has it keeps it right.
TEST(KernelLinear, ANormalizerIsNeededOnlyToDivide) {
    for (const attenta::KernelFeature feature : {attenta::KernelFeature::identity, attenta::KernelFeature::exp})
        for (const std::int64_t T : {1, 40}) {
            LinearCase c = linear_case(kernel_linear, {4, 2, 2, T, 12, 9}, Gates::mild, 10, true);
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

TEST(KernelLinearErrors, HeadsAndWidths) { expect_feature_errors(kernel_linear); }

TEST(KernelLinearErrors, OptionsAndStates) {
    const OwnErrors errors(kernel_linear);
    EXPECT_TRUE(errors.refused({"eps"}, [](Call& c) { c.options<Options>().eps = -1e-6f; }));
    EXPECT_TRUE(errors.refused({"eps"}, [](Call& c) { c.options<Options>().eps = nan; }));
    EXPECT_TRUE(errors.refused({"eps"}, [](Call& c) { c.options<Options>().eps = infinity; }));
    EXPECT_TRUE(errors.refused({"eps", "0"}, [](Call& c) {
        c.options<Options>().eps = 0, c.options<Options>().denominator = attenta::KernelDenominator::clamp;
    }));
    EXPECT_TRUE(errors.refused({"cos_max_len", "5", "6"}, [](Call& c) {
        c.options<Options>().feature = attenta::KernelFeature::cos, c.options<Options>().cos_max_len = 5;
    }));
    EXPECT_TRUE(errors.refused({"cos_max_len", "0"}, [](Call& c) {
        c.options<Options>().feature = attenta::KernelFeature::cos, c.options<Options>().cos_max_len = 0;
    }));
    EXPECT_TRUE(errors.refused({"cos_max_len", "16"}, [](Call& c) {
        c.options<Options>().feature = attenta::KernelFeature::cos, c.options<Options>().cos_max_len = 15;
        c.options<Options>().offset = 10;
    }));
    EXPECT_TRUE(errors.refused({"offset", "-1"}, [](Call& c) {
        c.options<Options>().feature = attenta::KernelFeature::cos, c.options<Options>().offset = -1;
    }));
    EXPECT_TRUE(errors.refused({"offset", "6"}, [](Call& c) {
        c.options<Options>().feature = attenta::KernelFeature::cos;
        c.options<Options>().offset = std::numeric_limits<std::int64_t>::max() - 5;
    }));
    // A state that was never divided by, where the call divides.
    EXPECT_TRUE(attenta_test::refused(Call(kernel_linear, 0, true), {"kernel_linear", "state.normalizer", "0"},
                                      [](Call& c) { c.state.normalizer.clear(); }));
}

}  // namespace
}  // namespace attenta_test
