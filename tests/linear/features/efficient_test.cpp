// Efficient attention equals its definition; keys come in parts; its own errors.
#include <attenta/linear/features/efficient.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "linear/support/compare.hpp"
#include "linear/support/naive_features.hpp"

namespace attenta_test {
namespace {

using Options = attenta::EfficientOptions;
using attenta::EfficientNormalization;

/// C and, of softmax, log Σ e^k, over the keys of the past, whose number is `before`, and the call.
void naive_context(NaiveLinear& r, View k, View v, bool softmax, double before, std::int64_t h, std::int64_t d) {
    double largest = softmax && before > 0 ? r.z_row(h)[d] : -1e300;
    for (std::int64_t j = 0; j < k.tokens; ++j)
        if (std::isfinite(k.row(h, j)[d])) largest = std::max(largest, double{k.row(h, j)[d]});
    const double old = !softmax ? std::sqrt(before) : before > 0 ? std::exp(r.z_row(h)[d] - largest) : 0;
    double sum = old;
    for (std::int64_t e = 0; e < r.dim_v; ++e) r.s_row(h, d)[e] *= old;
    for (std::int64_t j = 0; j < k.tokens; ++j) {
        const double weight = softmax ? std::exp(double{k.row(h, j)[d]} - largest) : double{k.row(h, j)[d]};
        for (std::int64_t e = 0; e < r.dim_v; ++e) r.s_row(h, d)[e] += weight * double{v.row(h, j)[e]};
        sum += weight;
    }
    const double by = softmax ? sum : std::sqrt(before + static_cast<double>(k.tokens));
    for (std::int64_t e = 0; e < r.dim_v; ++e) r.s_row(h, d)[e] /= by;
    if (softmax) r.z_row(h)[d] = largest + std::log(sum);
}

//   softmax:  o_i = Cᵀ softmax(q_i),  C = Σ_j e^{k_j} v_jᵀ / Σ_j e^{k_j};   scaling:  o_i = Cᵀ q_i / √n,  C = Σ_j k_j v_jᵀ / √n
NaiveLinear naive_efficient(const attenta::EfficientInputs& in, const Options& x, const LinearState& past) {
    const auto& [q, k, v] = in;
    const bool softmax = x.normalization == EfficientNormalization::softmax;
    NaiveLinear r = naive_start(q.heads, q.tokens, k.heads, k.dim, v.dim, past);
    r.weight = naive_past(past.weight, k.heads);
    if (softmax) r.normalizer = naive_past(past.normalizer, k.heads * k.dim);
    for (std::int64_t h = 0; h < k.heads; ++h) {
        double& n = r.weight[static_cast<std::size_t>(h)];
        for (std::int64_t d = 0; d < k.dim; ++d) naive_context(r, k, v, softmax, n, h, d);
        n += static_cast<double>(k.tokens);
        for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i)
            for (std::int64_t t = 0; t < q.tokens; ++t) {
                Row row = naive_row(q, i, q.heads, t);
                double sum = std::sqrt(n);
                if (softmax) {
                    const double top = *std::max_element(row.begin(), row.end());
                    sum = 0;
                    for (double& e : row) sum += e = std::exp(e - top);
                }
                for (double& e : row) e /= sum;
                const Row y = naive_read(r, h, row);
                std::copy(y.begin(), y.end(), r.o_row(i, t));
            }
    }
    return r;
}

const LinearMechanism& efficient = test_linear<&attenta::efficient, naive_efficient>(
    {.name = "efficient",
     .variants = {{"scaling",
                   [](LinearCase& c) { options_of<Options>(c).normalization = EfficientNormalization::scaling; }},
                  {"large numbers",
                   [](LinearCase& c) {
                       for (const char* name : {"q", "k"}) change(c, name, [](float x) { return 60 * x; });
                   }},
                  {"fewer queries than keys", [](LinearCase& c) { set_queries(c, (c.shape.T + 2) / 3); }},
                  {"more queries than keys, scaling",
                   [](LinearCase& c) {
                       options_of<Options>(c).normalization = EfficientNormalization::scaling;
                       set_queries(c, c.shape.T + 5);
                   }}},
     .has_history = true,
     .can_be_cut = [](const LinearCase&) { return false; }});

/// The last of several calls reads the keys of all, and the state is theirs.
TEST(Efficient, TakesKeysInParts) {
    for (const std::size_t variant : {0, 1, 2})
        for (const std::int64_t first : {1, 3, 30}) {
            const LinearCase c = linear_case(efficient, {4, 2, 2, 70, 24, 9}, Gates::mild, variant);
            on_every_isa([&](Context& context) {
                LinearOutput part = attend(c, 0, first, {}, context);
                part = attend(c, first, 70 - first, std::move(part.state), context);
                const LinearOutput whole = attend(c, context);
                EXPECT_LE(distance(part.state, whole.state), 1e-5) << describe(c) << " cut at " << first;
                for (std::int64_t h = 0; h < 4; ++h)
                    for (std::int64_t e = 0; e < 9; ++e)
                        EXPECT_NEAR(part.o.row(h, 69 - first)[e], whole.o.row(h, 69)[e], 1e-5) << describe(c);
            });
        }
}

TEST(EfficientErrors, HeadsAndWidths) {
    const OwnErrors errors(efficient);
    EXPECT_TRUE(errors.refused({"q", "3", "2"}, [](Call& c) { c.x.at("q").heads = c.o.heads = 3; }));
    EXPECT_TRUE(errors.refused({"v", "1", "2"}, [](Call& c) { c.x.at("v").heads = 1; }));
    EXPECT_TRUE(errors.refused({"v", "5", "6"}, [](Call& c) { c.x.at("v").tokens = 5; }));
    EXPECT_TRUE(errors.refused({"15", "16"}, [](Call& c) { c.x.at("k").dim = 15; }));
}

}  // namespace
}  // namespace attenta_test
