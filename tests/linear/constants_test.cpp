// What models compute once: decays of heads, random projections.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "linear/support/naive_features.hpp"
#include "linear/support/naive_recurrent.hpp"
#include "support/random.hpp"

namespace attenta_test {
namespace {

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

TEST(LinearConstants, LightningDecaysAreGeometricOrLinear) {
    for (const LightningSlopes slopes : {LightningSlopes::geometric, LightningSlopes::linear}) {
        expect_decays({.slopes = slopes});
        for (const std::int64_t layer : {0, 1, 23}) expect_decays({.slopes = slopes, .layer = layer, .num_layers = 24});
    }
    expect_decays({.slopes = LightningSlopes::linear, .layer = 0, .num_layers = 1});
}

TEST(LinearConstants, LightningDecaysOfKnownHeads) {
    const std::vector<float> eight = attenta::lightning_decay(8), six = attenta::lightning_decay(6);
    EXPECT_EQ(eight.front(), -0.5f);
    EXPECT_EQ(eight.back(), -0x1p-8f);
    const float want[] = {-0x1p-2f, -0x1p-4f, -0x1p-6f, -0x1p-8f, -0x1p-1f, -0x1p-3f};
    for (std::size_t h = 0; h < 6; ++h) EXPECT_FLOAT_EQ(six[h], want[h]);
    EXPECT_EQ(attenta::lightning_decay(4, {.slopes = LightningSlopes::linear}), (std::vector<float>{0, -2, -4, -6}));
}

/// 1 − 2^(−5−h) is 1 as a float from head 20 on; its logarithm is not 0.
TEST(LinearConstants, RetentionDecaysKeepTheirDigits) {
    const std::vector<float> got = attenta::retention_decay(64);
    const std::vector<double> want = naive_retention_decay(64);
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t h = 0; h < want.size(); ++h) EXPECT_FLOAT_EQ(got[h], static_cast<float>(want[h])) << "head " << h;
}

double dot(const std::vector<float>& w, std::int64_t a, std::int64_t b, std::int64_t dim) {
    double s = 0;
    for (std::int64_t d = 0; d < dim; ++d) s += double{w.data()[a * dim + d]} * double{w.data()[b * dim + d]};
    return s;
}

TEST(LinearConstants, RowsOfAProjectionAreOrthogonalInsideABlock) {
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

TEST(LinearConstants, AProjectionBelongsToItsSeed) {
    EXPECT_EQ(attenta::performer_projection(40, 16, 1), attenta::performer_projection(40, 16, 1));
    EXPECT_NE(attenta::performer_projection(40, 16, 1), attenta::performer_projection(40, 16, 2));
}

/// Squared lengths of normal vectors: mean dim, variance 2 dim. Entries: mean 0, no side is preferred. Blocks differ.
TEST(LinearConstants, RowsOfAProjectionAreAsLongAsNormalVectors) {
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
TEST(LinearConstants, PerformerWithManyFeaturesIsNearSoftmaxAttention) {
    const std::int64_t T = 20, D = 8, M = 4096;
    Random random(2);
    std::vector<float> q = random.normals(T * D), k = random.normals(T * D), v = random.normals(T * D),
                       o(static_cast<std::size_t>(T * D)), want = o;
    for (std::vector<float>* x : {&q, &k})
        for (float& e : *x) e *= 0.7f;
    const std::vector<float> w = attenta::performer_projection(M, D, 9);
    attenta::LinearState state;
    attenta::performer(attenta::hnd<const float>(q.data(), 1, T, D), attenta::hnd<const float>(k.data(), 1, T, D),
                       attenta::hnd<const float>(v.data(), 1, T, D), {w.data(), 1, M, D},
                       attenta::hnd(o.data(), 1, T, D), state);
    attenta::softmax_attention(attenta::hnd<const float>(q.data(), 1, T, D),
                               attenta::hnd<const float>(k.data(), 1, T, D),
                               attenta::hnd<const float>(v.data(), 1, T, D), attenta::hnd(want.data(), 1, T, D));
    double squares = 0;
    for (std::size_t i = 0; i < o.size(); ++i) squares += std::pow(double{o[i]} - double{want[i]}, 2);
    EXPECT_LT(std::sqrt(squares / static_cast<double>(o.size())), 0.05);
}

}  // namespace
}  // namespace attenta_test
