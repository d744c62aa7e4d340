// Retention equals its definition; its decays; its own errors.
#include <attenta/linear/decay/retention.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "linear/support/spoiled.hpp"

namespace attenta_test {
namespace {

/// Pairs (2i, 2i + 1) turned by theta_i · position.
Row naive_rotated(Row x, std::span<const float> theta, std::int64_t position) {
    for (std::size_t i = 0; i < theta.size(); ++i) {
        const double angle = double{theta[i]} * static_cast<double>(position), even = x[2 * i], odd = x[2 * i + 1];
        x[2 * i] = even * std::cos(angle) - odd * std::sin(angle);
        x[2 * i + 1] = odd * std::cos(angle) + even * std::sin(angle);
    }
    return x;
}

std::vector<double> naive_retention_decay(std::int64_t H) {
    std::vector<double> g;
    for (std::int64_t h = 0; h < H; ++h) g.push_back(std::log1p(-std::exp2(-5.0 - static_cast<double>(h))));
    return g;
}

//   q, k rotated;  S_t = γ S_{t-1} + scale · k_t v_tᵀ,  n_t = γ n_{t-1} + 1,  z_t = γ z_{t-1} + scale · k_t,  γ = exp(g)
//   o_t = S_tᵀ q_t / d_t,   d_t = 1,  sqrt(n_t)  or  sqrt(n_t) · max(|q_t·z_t| / sqrt(n_t), 1)
NaiveLinear naive_retention(const attenta::RetentionInputs& in, const attenta::RetentionOptions& x,
                            const LinearState& past) {
    const auto& [q, k, v, g, theta] = in;
    using attenta::RetentionNorm;
    const std::int64_t most = std::max({q.heads, k.heads, v.heads});
    const std::vector<double> decay = naive_head_decay(g, naive_retention_decay(most));
    const std::int64_t hs = std::max({k.heads, v.heads, static_cast<std::int64_t>(decay.size())});
    NaiveLinear r = naive_start(std::max(q.heads, hs), q.tokens, hs, q.dim, v.dim, past);
    std::vector<double> n = naive_past(past.weight, hs), z = naive_past(past.normalizer, hs * q.dim);
    for (std::int64_t h = 0; h < hs; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            const double gamma = std::exp(decay.data()[h]);
            Row kt = naive_rotated(naive_row(k, h, hs, t), theta, x.offset + t);
            for (double& e : kt) e *= naive_scale(x.scale, q.dim);
            naive_multiply(r, h, gamma);
            for (std::int64_t d = 0; d < q.dim; ++d)
                z.data()[h * q.dim + d] = gamma * z.data()[h * q.dim + d] + kt.data()[d];
            naive_add(r, h, kt, naive_row(v, h, hs, t));
            const double root = std::sqrt(n.data()[h] = gamma * n.data()[h] + 1);
            for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i) {
                const Row qt = naive_rotated(naive_row(q, i, r.heads, t), theta, x.offset + t),
                          y = naive_read(r, h, qt);
                const double sum = std::abs(naive_dot(z.data() + h * q.dim, qt));
                const double divisor = x.score_norm == RetentionNorm::none    ? 1
                                       : x.score_norm == RetentionNorm::decay ? root
                                                                              : root * std::max(sum / root, 1.0);
                for (std::int64_t e = 0; e < v.dim; ++e) r.o_row(i, t)[e] = y.data()[e] / divisor;
            }
        }
    if (x.score_norm != RetentionNorm::none) r.weight = n;
    if (x.score_norm == RetentionNorm::full) r.normalizer = z;
    return r;
}

/// The model's angles; none for an odd width.
void put_theta(LinearCase& c) {
    const std::int64_t n = c.shape.D / 2;
    if (c.shape.D % 2 != 0) return;
    std::vector<float> theta;
    for (std::int64_t i = 0; i < n; ++i)
        theta.push_back(static_cast<float>(
            std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(std::max<std::int64_t>(n - 1, 1)))));
    c.put_array("theta", 1, n, theta);
}

using Options = attenta::RetentionOptions;
using attenta::RetentionNorm;
const LinearMechanism& retention = test_linear<&attenta::retention, naive_retention>(
    {.name = "retention",
     .variants = {{"rotated", [](LinearCase& c) { put_theta(c); }},
                  {"rotated far from the origin",
                   [](LinearCase& c) { put_theta(c), options_of<Options>(c).offset = 20011; }},
                  {"decay norm", [](LinearCase& c) { options_of<Options>(c).score_norm = RetentionNorm::decay; }},
                  {"full norm, rotated",
                   [](LinearCase& c) { put_theta(c), options_of<Options>(c).score_norm = RetentionNorm::full; }},
                  {"given decay, full norm",
                   [](LinearCase& c) {
                       c.put_gates("g", Along::nothing, state_heads(c), 1);
                       options_of<Options>(c).score_norm = RetentionNorm::full;
                   }},
                  {"a given decay for each query head, decay norm",
                   [](LinearCase& c) {
                       c.put_gates("g", Along::nothing, most_heads(c), 1);
                       options_of<Options>(c).score_norm = RetentionNorm::decay;
                   }},
                  {"given decay", [](LinearCase& c) { c.put_gates("g", Along::nothing, state_heads(c), 1); }},
                  {"scale -0.3", [](LinearCase& c) { options_of<Options>(c).scale = -0.3f; }}},
     .signed_normalizer = true});

/// 1 − 2^(−5−h) is 1 as a float from head 20 on; its logarithm is not 0.
TEST(Retention, DecaysKeepTheirDigits) {
    const std::vector<float> got = attenta::retention_decay(64);
    const std::vector<double> want = naive_retention_decay(64);
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t h = 0; h < want.size(); ++h) EXPECT_FLOAT_EQ(got[h], static_cast<float>(want[h])) << "head " << h;
}

TEST(RetentionErrors, HeadsAndWidths) { expect_errors_of_free_heads(retention); }

TEST(RetentionErrors, AnglesDecaysAndStates) {
    const OwnErrors errors(retention);
    const std::size_t rotated = 1, given = 7;
    EXPECT_TRUE(errors.refused(
        {"theta", "7", "8"}, [](Call& c) { c.x.at("theta").dim = 7; }, rotated));
    EXPECT_TRUE(errors.refused(
        {"15"}, [](Call& c) { c.x.at("q").dim = c.x.at("k").dim = 15, c.x.at("theta").dim = 7; }, rotated));
    EXPECT_TRUE(errors.refused(
        {"g", "1", "2"}, [](Call& c) { c.x.at("g").heads = 1; }, given));
    EXPECT_TRUE(errors.refused(
        {"3"}, [](Call& c) { c.x.at("g").heads = 3; }, given));
    EXPECT_TRUE(errors.refused(
        {"g", "6", "1"}, [](Call& c) { c.x.at("g").tokens = 6; }, given));
    EXPECT_TRUE(errors.refused(
        {"g", "16", "1"}, [](Call& c) { c.x.at("g").dim = 16; }, given));
    EXPECT_TRUE(errors.refused({"offset", "-1"}, [](Call& c) { c.options<Options>().offset = -1; }));
    EXPECT_TRUE(errors.refused(
        {"offset", "6"}, [](Call& c) { c.options<Options>().offset = std::numeric_limits<std::int64_t>::max() - 5; }));
    EXPECT_TRUE(refuses([] { attenta::retention_decay(0); }, {"heads", "0"}));
    // A state of a call without normalisation lacks what "decay" and "full" need.
    Call plain(retention);
    plain.run();
    const auto with = [&](attenta::RetentionNorm norm) {
        return [&plain, norm](Call& c) { c.state = plain.state, c.options<Options>().score_norm = norm; };
    };
    EXPECT_TRUE(attenta_test::refused(Call(retention), {"retention", "weight"}, with(attenta::RetentionNorm::decay)));
    EXPECT_TRUE(attenta_test::refused(Call(retention), {"retention", "state"}, with(attenta::RetentionNorm::full)));
}

}  // namespace
}  // namespace attenta_test
