// Performer equals its definition; its projections; its own errors.
#include <attenta/linear/features/performer.hpp>
#include <attenta/softmax/softmax.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "linear/support/naive_features.hpp"

namespace attenta_test {
namespace {

/// c w_m·x for all m, and c²|x|²/2.
struct NaiveProjected {
    Row w;
    double half_norm;
};

NaiveProjected naive_projected(const Row& x, attenta::Matrices<const float> projection, double c) {
    NaiveProjected p{Row(static_cast<std::size_t>(projection.rows)), c * c * naive_dot(x.data(), x) / 2};
    for (std::int64_t m = 0; m < projection.rows; ++m)
        for (std::int64_t d = 0; d < projection.cols; ++d)
            p.w.data()[m] += c * double{projection.row(0, m)[d]} * x.data()[d];
    return p;
}

/// K: given, else that of the past, else the largest c w_m·k_j of the head.
std::vector<double> naive_key_max(View k, attenta::Matrices<const float> projection, double c, const LinearState& past,
                                  std::span<const float> given) {
    if (!given.empty()) return {given.begin(), given.end()};
    if (!past.empty()) return {past.key_max.begin(), past.key_max.end()};
    std::vector<double> largest(static_cast<std::size_t>(k.heads), -std::numeric_limits<double>::infinity());
    for (std::int64_t h = 0; h < k.heads; ++h)
        for (std::int64_t j = 0; j < k.tokens; ++j)
            for (const double w : naive_projected(naive_row(k, h, k.heads, j), projection, c).w)
                largest.data()[h] = std::max(largest.data()[h], w);
    return largest;
}

//   softmax:  φ(q)_m = r (exp(c w_m·q − c²|q|²/2 − max_m' c w_m'·q) + eps),  φ(k)_m = r (exp(c w_m·k − c²|k|²/2 − K) + eps)
//   relu:     φ(x)_m = relu(r c w_m·x) + eps
//   o_i = S^T φ(q_i) / (den_i + 2 δ [|den_i| <= δ])
NaiveLinear naive_performer(const attenta::PerformerInputs& in, const attenta::PerformerOptions& x,
                            const LinearState& past) {
    const auto& [q, k, v, projection, key_max] = in;
    const bool softmax = x.kernel == attenta::PerformerKernel::softmax;
    const double c = x.normalize_data.value_or(softmax) ? std::pow(static_cast<double>(q.dim), -0.25) : 1;
    const double ratio = x.ratio ? 1 / std::sqrt(static_cast<double>(projection.rows)) : 1;
    const double eps = double{x.eps.value_or(softmax ? 1e-6f : 1e-3f)}, delta = double{x.denominator_stabilizer};
    std::vector<double> K;
    if (softmax) K = naive_key_max(k, projection, c, past, key_max);
    const auto features = [&](const Row& row, const double* largest) {
        NaiveProjected p = naive_projected(row, projection, c);
        const double shift = largest ? *largest : *std::max_element(p.w.begin(), p.w.end());
        for (double& w : p.w)
            w = softmax ? ratio * (std::exp(w - p.half_norm - shift) + eps) : std::max(ratio * w, 0.0) + eps;
        return p.w;
    };
    NaiveLinear r = naive_feature_attention(
        q, k, v, projection.rows, x.causal, past,
        [&](std::int64_t h, std::int64_t i) { return features(naive_row(q, h, q.heads, i), nullptr); },
        [&](std::int64_t h, std::int64_t j) {
            return features(naive_row(k, h, k.heads, j), softmax ? K.data() + h : nullptr);
        },
        [&](Row& num, double den) {
            for (double& e : num) e /= den + (std::abs(den) <= delta ? 2 * delta : 0);
        });
    r.key_max = K;
    return r;
}

using Options = attenta::PerformerOptions;
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

void put_key_max(LinearCase& c, float mean) {
    std::vector<float> key_max = c.random.normals(c.shape.Hk);
    for (float& x : key_max) x = mean + 0.5f * x;
    c.put_array("key_max", 1, c.shape.Hk, key_max);
}

void fill(LinearCase& c) {
    options_of<Options>(c).causal = true;
    const std::int64_t M = c.shape.D + 5;
    c.put_array("projection", M, c.shape.D, c.random.normals(M * c.shape.D));
    put_key_max(c, 2);
}
void set_relu(LinearCase& c) {
    options_of<Options>(c).kernel = attenta::PerformerKernel::relu;
    c.inputs.erase("key_max");
}

/// Features of keys are relative to the largest of the call, unless that is given.
bool can_be_cut(const LinearCase& c) {
    const bool given = options_of<Options>(c).kernel != attenta::PerformerKernel::softmax || !c.past.empty() ||
                       c.views()["key_max"].data;
    return options_of<Options>(c).causal && given;
}

const LinearMechanism& performer = test_linear<&attenta::performer,
                                               naive_performer>({.name = "performer",
                                                                 .variants = {{"causal",
                                                                               [](LinearCase& c) {
                                                                                   c.inputs.erase("key_max");
                                                                               }},
                                                                              {"not causal",
                                                                               [](LinearCase& c) {
                                                                                   options_of<Options>(c).causal =
                                                                                       false,
                                                                                   c.inputs.erase("key_max");
                                                                               }},
                                                                              {"not causal, key_max",
                                                                               [](LinearCase& c) {
                                                                                   options_of<Options>(c).causal =
                                                                                       false;
                                                                               }},
                                                                              {"relu causal", set_relu},
                                                                              {"relu",
                                                                               [](LinearCase& c) {
                                                                                   set_relu(c),
                                                                                       options_of<Options>(c).causal =
                                                                                           false;
                                                                               }},
                                                                              {"relu, normalize_data, no ratio",
                                                                               [](LinearCase& c) {
                                                                                   set_relu(c),
                                                                                       options_of<Options>(c)
                                                                                           .normalize_data = true,
                                                                     options_of<Options>(c).ratio = false;
                                                                               }},
                                                                              {"no normalize_data",
                                                                               [](LinearCase& c) {
                                                                                   options_of<Options>(c)
                                                                                       .normalize_data = false,
                                                                 c.inputs.erase("key_max");
                                                                               }},
                                                                              {"no ratio, eps 1e-4",
                                                                               [](LinearCase& c) {
                                                                                   options_of<Options>(c).ratio = false,
                                                                                   options_of<Options>(c).eps = 1e-4f;
                                                                               }},
                                                                              {"large numbers",
                                                                               [](LinearCase& c) {
                                                                                   c.inputs.erase("key_max");
                                                                                   for (const char* name : {"q", "k"})
                                                                                       change(c, name, [](float x) {
                                                                                           return 6 * x;
                                                                                       });
                                                                               }},
                                                                              {"stabilizer above many denominators",
                                                                               [](LinearCase& c) {
                                                                                   options_of<Options>(c)
                                                                                       .denominator_stabilizer =
                                                                                       0.0123f;
                                                                               }},
                                                                              {"relu, eps 0, stabilizer",
                                                                               [](LinearCase& c) {
                                                                                   set_relu(c);
                                                                                   options_of<Options>(c).eps = 0.0f,
                                                                                   options_of<Options>(c)
                                                                                       .denominator_stabilizer = 1e-6f;
                                                                               }},
                                                                              {"causal with history",
                                                                               [](LinearCase& c) {
                                                                                   set_queries(c,
                                                                                               std::max<std::int64_t>(
                                                                                                   c.shape.T / 3, 1));
                                                                               }},
                                                                              {"more queries than keys",
                                                                               [](LinearCase& c) {
                                                                                   options_of<Options>(c).causal =
                                                                                       false;
                                                                                   set_queries(c, c.shape.T + 5);
                                                                               }}},
                                                                 .fill = fill,
                                                                 .has_history = true,
                                                                 .can_be_cut = can_be_cut});

/// The first keys of a causal call are history, in chunks of their own.
TEST(Performer, HoldsForAnyNumberOfQueries) {
    std::vector<LinearCase> cases;
    for (const std::int64_t T : {5, 40, 100})
        for (std::int64_t queries = 1; queries <= T; queries += 7) {
            LinearCase c = linear_case(performer, {4, 2, 2, T, 12, 9}, Gates::mild, 0, true);
            set_queries(c, queries);
            cases.push_back(std::move(c));
        }
    expect_definition(cases);
}

/// A NaN key spoils its own features; those of the keys beside it are relative to the largest of the others.
TEST(Performer, HoldsBesideANanKey) {
    for (const std::int64_t at : {0, 5, 32}) {
        LinearCase c = linear_case(performer, {2, 2, 2, 40, 12, 9}, Gates::mild, 9);
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

double dot(const std::vector<float>& w, std::int64_t a, std::int64_t b, std::int64_t dim) {
    double s = 0;
    for (std::int64_t d = 0; d < dim; ++d) s += double{w.data()[a * dim + d]} * double{w.data()[b * dim + d]};
    return s;
}

TEST(PerformerProjection, RowsOfAProjectionAreOrthogonalInsideABlock) {
    for (const std::int64_t dim : {1, 2, 7, 16, 64})
        for (const std::int64_t features : {std::int64_t{1}, dim, 2 * dim, 2 * dim + 3})
            for (const bool fixed : {false, true}) {
                const std::vector<float> w = attenta::performer_projection(features, dim, 5, fixed);
                ASSERT_EQ(w.size(), static_cast<std::size_t>(features * dim));
                for (std::int64_t a = 0; a < features; ++a) {
                    const double length = std::sqrt(dot(w, a, a, dim));
                    if (fixed) {
                        EXPECT_NEAR(length, std::sqrt(static_cast<double>(dim)), 1e-5 * length);
                    }
                    for (std::int64_t b = a / dim * dim; b < a; ++b)
                        EXPECT_NEAR(dot(w, a, b, dim), 0, 1e-5 * length * std::sqrt(dot(w, b, b, dim)))
                            << "dim " << dim << ", rows " << b << " and " << a;
                }
            }
}

TEST(PerformerProjection, AProjectionBelongsToItsSeed) {
    EXPECT_EQ(attenta::performer_projection(40, 16, 1), attenta::performer_projection(40, 16, 1));
    EXPECT_NE(attenta::performer_projection(40, 16, 1), attenta::performer_projection(40, 16, 2));
}

/// Squared lengths of normal vectors: mean dim, variance 2 dim. Entries: mean 0, no side is preferred. Blocks differ.
TEST(PerformerProjection, RowsOfAProjectionAreAsLongAsNormalVectors) {
    const std::int64_t dim = 16, features = 4000;
    const std::vector<float> w = attenta::performer_projection(features, dim, 3);
    double mean = 0, square = 0, entries = 0;
    for (std::int64_t m = 0; m < features; ++m) {
        const double length = dot(w, m, m, dim);
        mean += length / static_cast<double>(features), square += length * length / static_cast<double>(features);
    }
    for (const float x : w) entries += double{x} / static_cast<double>(w.size());
    EXPECT_NEAR(mean, 16, 0.5);
    EXPECT_NEAR(square - mean * mean, 32, 5);
    EXPECT_NEAR(entries, 0, 0.02);
    EXPECT_LT(std::abs(dot(w, 0, dim, dim)), 0.999 * std::sqrt(dot(w, 0, 0, dim) * dot(w, dim, dim, dim)));
}

/// The features' products estimate exp(q·k / sqrt(D)): the whole is near softmax attention.
TEST(Performer, WithManyFeaturesIsNearSoftmaxAttention) {
    const std::int64_t T = 20, D = 8, M = 4096;
    Random random(2);
    std::vector<float> q = random.normals(T * D), k = random.normals(T * D), v = random.normals(T * D),
                       o(static_cast<std::size_t>(T * D)), want = o;
    for (std::vector<float>* x : {&q, &k})
        for (float& e : *x) e *= 0.7f;
    const std::vector<float> w = attenta::performer_projection(M, D, 9);
    attenta::LinearState state;
    attenta::performer({attenta::hnd<const float>(q.data(), 1, T, D),
                        attenta::hnd<const float>(k.data(), 1, T, D),
                        attenta::hnd<const float>(v.data(), 1, T, D),
                        {w.data(), 1, M, D}},
                       attenta::hnd(o.data(), 1, T, D), state);
    attenta::softmax_attention(attenta::hnd<const float>(q.data(), 1, T, D),
                               attenta::hnd<const float>(k.data(), 1, T, D),
                               attenta::hnd<const float>(v.data(), 1, T, D), attenta::hnd(want.data(), 1, T, D));
    double squares = 0;
    for (std::size_t i = 0; i < o.size(); ++i) squares += std::pow(double{o[i]} - double{want[i]}, 2);
    EXPECT_LT(std::sqrt(squares / static_cast<double>(o.size())), 0.05);
}

TEST(PerformerErrors, HeadsAndWidths) { expect_feature_errors(performer); }

TEST(PerformerErrors, ProjectionAndOptions) {
    const OwnErrors errors(performer);
    EXPECT_TRUE(errors.refused({"projection", "15", "16"}, [](Call& c) { c.x.at("projection").dim = 15; }));
    EXPECT_TRUE(errors.refused({"projection", "0"}, [](Call& c) { c.x.at("projection").tokens = 0; }));
    EXPECT_TRUE(errors.refused({"projection", "2", "1"}, [](Call& c) { c.x.at("projection").heads = 2; }));
    EXPECT_TRUE(errors.refused({"key_max", "1", "2"}, [](Call& c) { c.x.at("key_max").dim = 1; }));
    EXPECT_TRUE(errors.refused({"eps"}, [](Call& c) { c.options<Options>().eps = -1.0f; }));
    EXPECT_TRUE(errors.refused({"eps"}, [](Call& c) { c.options<Options>().eps = nan; }));
    EXPECT_TRUE(
        errors.refused({"denominator_stabilizer"}, [](Call& c) { c.options<Options>().denominator_stabilizer = nan; }));
    EXPECT_TRUE(refuses([] { attenta::performer_projection(0, 8, 1); }, {"performer_projection", "0"}));
    EXPECT_TRUE(refuses([] { attenta::performer_projection(8, 0, 1); }, {"performer_projection", "0"}));
}

}  // namespace
}  // namespace attenta_test
