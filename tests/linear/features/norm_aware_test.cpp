// Norm-aware linear attention equals its definition; rotated sequences in parts; its own errors.
#include <attenta/linear/features/norm_aware.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include "linear/support/compare.hpp"
#include "linear/support/naive_features.hpp"
#include "linear/support/naive_products.hpp"

namespace attenta_test {
namespace {

using attenta::NormAwareAngle, attenta::NormAwareFeature;
using Options = attenta::NormAwareOptions;

Row naive_norm_aware_feature(const Row& x, const Options& o, bool query) {
    const double length = std::sqrt(naive_dot(x.data(), x)),
                 exponent = query ? double{o.power} * (0.5 + std::tanh(length)) : double{o.power};
    Row first, second;
    for (const double e : x) {
        const double u = length == 0 ? 0 : e / length, size = std::pow(std::abs(query ? u : e), exponent);
        const double a = o.angle == NormAwareAngle::direction ? u
                                                              : std::numbers::pi / 4 * std::tanh(double{o.alpha} * u),
                     angle = std::numbers::pi / 4 - a;
        const bool split = o.feature == NormAwareFeature::split;
        first.push_back(split ? (e < 0 ? 0 : size) : size * std::cos(angle));
        second.push_back(split ? (e > 0 ? 0 : size) : size * std::sin(angle));
    }
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

/// Pairs (2m, 2m + 1) of both halves, turned by a row of the tables.
Row naive_turned(const Row& y, const attenta::NormAwareInputs& in, std::int64_t position) {
    if (!in.rope_cos) return y;
    Row turned = y;
    const std::size_t D = y.size() / 2;
    for (std::size_t f = 0; f < 2 * D; ++f) {
        const double c = double{in.rope_cos.row(0, position)[f % D]}, s = double{in.rope_sin.row(0, position)[f % D]};
        turned[f] = y[f] * c + (f % D % 2 == 0 ? -y[f + 1] : y[f - 1]) * s;
    }
    return turned;
}

//   o_i = Σ_j (R φ(q_i))·(R φ(k_j)) v_j / (Σ_j φ(q_i)·φ(k_j) + n_i eps)
NaiveLinear naive_norm_aware(const attenta::NormAwareInputs& in, const Options& x, const LinearState& past) {
    const View &q = in.q, &k = in.k, &v = in.v;
    const std::int64_t first = x.causal ? k.tokens - q.tokens : 0;
    NaiveLinear r = naive_start(q.heads, q.tokens, k.heads, 2 * k.dim, v.dim, past);
    r.normalizer = naive_past(past.normalizer, k.heads * 2 * k.dim);
    r.weight = naive_past(past.weight, k.heads);
    for (std::int64_t h = 0; h < k.heads; ++h) {
        std::int64_t seen = 0;
        double& n = r.weight[static_cast<std::size_t>(h)];
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            for (; seen < (x.causal ? first + t + 1 : k.tokens); ++seen, ++n) {
                const Row phi = naive_norm_aware_feature(naive_row(k, h, k.heads, seen), x, false);
                naive_add(r, h, naive_turned(phi, in, seen), naive_row(v, h, k.heads, seen));
                for (std::int64_t f = 0; f < r.dim; ++f) r.z_row(h)[f] += phi.data()[f];
            }
            for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i) {
                const Row phi = naive_norm_aware_feature(naive_row(q, i, q.heads, t), x, true);
                const Row y = naive_read(r, h, naive_turned(phi, in, first + t));
                const double den = naive_dot(r.z_row(h), phi) + n * double{x.eps};
                for (std::int64_t e = 0; e < v.dim; ++e) r.o_row(i, t)[e] = y.data()[e] / den;
            }
        }
    }
    return r;
}

/// Tables as models have them, of the call's keys.
void put_rope(LinearCase& c) {
    if (!c.shape.Tq) c.shape.Tq = c.shape.T;  // the tables belong to all tokens together
    if (c.shape.D % 2 != 0) return;
    std::vector<float> cos, sin;
    for (std::int64_t t = 0; t < c.shape.T; ++t)
        for (std::int64_t d = 0; d < c.shape.D; ++d) {
            const double turn = std::pow(10000.0, -static_cast<double>(d / 2 * 2) / static_cast<double>(c.shape.D)),
                         angle = static_cast<double>(t) * turn;
            cos.push_back(static_cast<float>(std::cos(angle)));
            sin.push_back(static_cast<float>(std::sin(angle)));
        }
    c.put_array("rope_cos", c.shape.T, c.shape.D, cos);
    c.put_array("rope_sin", c.shape.T, c.shape.D, sin);
}

template <NormAwareFeature feature, bool causal>
void set(LinearCase& c) {
    options_of<Options>(c).feature = feature, options_of<Options>(c).causal = causal;
}

const LinearMechanism& norm_aware = test_linear<&attenta::norm_aware, naive_norm_aware>(
    {.name = "norm_aware",
     .variants = {{"cosine", set<NormAwareFeature::cosine, false>},
                  {"split causal", set<NormAwareFeature::split, true>},
                  {"split", set<NormAwareFeature::split, false>},
                  {"alpha 2, power 1.5",
                   [](LinearCase& c) { options_of<Options>(c).alpha = 2, options_of<Options>(c).power = 1.5f; }},
                  {"direction, eps 0.1",
                   [](LinearCase& c) {
                       options_of<Options>(c).angle = NormAwareAngle::direction, options_of<Options>(c).eps = 0.1f;
                   }},
                  {"causal, turned", put_rope},
                  {"split, turned", [](LinearCase& c) { set<NormAwareFeature::split, false>(c), put_rope(c); }},
                  {"causal with history, turned",
                   [](LinearCase& c) {
                       set_queries(c, std::max<std::int64_t>(c.shape.T / 3, 1));
                       put_rope(c);
                   }},
                  {"more queries than keys",
                   [](LinearCase& c) {
                       set<NormAwareFeature::cosine, false>(c);
                       set_queries(c, c.shape.T + 5);
                   }}},
     .fill = [](LinearCase& c) { options_of<Options>(c).causal = true; },
     .has_history = true,
     .can_be_cut = [](const LinearCase& c) { return options_of<Options>(c).causal; },
     .past = state_of_first_token});

/// With the tables of its own tokens, a part goes on as the whole does.
TEST(NormAware, TurnedSequencesMayBeCut) {
    const LinearCase c = linear_case(norm_aware, {4, 2, 2, 70, 12, 9}, Gates::mild, 6);
    on_every_isa([&](Context& context) {
        const LinearOutput whole = attend(c, context);
        for (const std::int64_t cut : {1, 5, 40, 69}) {
            LinearState state;
            std::vector<float> rows;
            for (const auto& [begin, count] : {std::pair{std::int64_t{0}, cut}, {cut, 70 - cut}}) {
                LinearViews x = c.views(begin, count);
                for (const char* table : {"rope_cos", "rope_sin"}) x.at(table) = x[table].slice(begin, count);
                const LinearOutput part = attend(c, x, c.options, count, std::move(state), context);
                part.o.each_row([&, &begin = begin](float* row, std::int64_t h, std::int64_t t) {
                    for (std::int64_t e = 0; e < 9; ++e)
                        EXPECT_NEAR(row[e], whole.o.row(h, begin + t)[e], 1e-5) << "cut at " << cut;
                });
                state = part.state;
            }
            EXPECT_LE(distance(state, whole.state), 1e-5) << "cut at " << cut;
        }
    });
}

TEST(NormAware, AZeroQueryGivesZeros) {
    for (const std::size_t variant : {0, 2, 5, 6})
        for (const std::int64_t T : {1, 40}) {
            const LinearCase c = linear_case(norm_aware, {2, 2, 2, T, 12, 9}, Gates::mild, variant);
            std::fill_n(c.inputs.find("q")->second.tensor.row(1, T / 2), 12, 0.0f);
            on_every_isa([&](Context& context) {
                const LinearOutput got = attend(c, context);
                for (std::int64_t e = 0; e < 9; ++e) EXPECT_EQ(got.o.row(1, T / 2)[e], 0) << describe(c);
            });
        }
}

TEST(NormAwareErrors, HeadsAndWidths) { expect_feature_errors(norm_aware); }

TEST(NormAwareErrors, OptionsAndTables) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const OwnErrors errors(norm_aware);
    EXPECT_TRUE(errors.refused({"power", "0"}, [](Call& c) { c.options<Options>().power = 0; }));
    EXPECT_TRUE(errors.refused({"alpha"}, [nan](Call& c) { c.options<Options>().alpha = nan; }));
    EXPECT_TRUE(errors.refused({"eps"}, [](Call& c) { c.options<Options>().eps = -1; }));
    EXPECT_TRUE(errors.refused(
        {"rope_sin"}, [](Call& c) { c.x.at("rope_sin").data = nullptr; }, 6));
    EXPECT_TRUE(errors.refused(
        {"rope_cos", "5", "6"}, [](Call& c) { c.x.at("rope_cos").tokens = 5; }, 6));
    EXPECT_TRUE(errors.refused(
        {"k", "15", "even"},
        [](Call& c) {
            for (const char* name : {"q", "k", "rope_cos", "rope_sin"}) c.x.at(name).dim = 15;
        },
        6));
}

}  // namespace
}  // namespace attenta_test
