// Injective linear attention equals its definition; its weights; its own errors.
#include <attenta/linear/features/injective.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include "linear/support/compare.hpp"
#include "linear/support/naive_features.hpp"

namespace attenta_test {
namespace {

using attenta::InjectiveFeature;
using Options = attenta::InjectiveOptions;

Row naive_injective_feature(Row x, const Options& o) {
    for (double& e : x)
        e = o.feature == InjectiveFeature::relu         ? std::max(e, 0.0)
            : o.feature == InjectiveFeature::leaky_relu ? (e < 0 ? 0.01 * e : e)
            : o.feature == InjectiveFeature::exp        ? std::exp(double{o.temperature} * e)
                                                        : e;
    return x;
}

/// Σ over the 3×3 tokens around one of the grid.
double naive_local(const attenta::InjectiveInputs& in, const Options& o, std::int64_t h, std::int64_t token,
                   std::int64_t channel) {
    double sum = 0;
    if (!in.local_weight.data || token < o.prefix) return sum;
    const std::int64_t row = (token - o.prefix) / o.grid_width, column = (token - o.prefix) % o.grid_width;
    for (std::int64_t a = 0; a < 3; ++a)
        for (std::int64_t b = 0; b < 3; ++b) {
            const std::int64_t r = row + a - 1, c = column + b - 1;
            if (r < 0 || r >= o.grid_height || c < 0 || c >= o.grid_width) continue;
            sum += double{in.local_weight.row(h, 3 * a + b)[channel]} *
                   naive_row(in.v, h, in.q.heads, o.prefix + r * o.grid_width + c).data()[channel];
        }
    return sum;
}

//   a_ij = s φ(q_i)·φ(k_j)/n − (1/n) Σ_t s φ(q_i)·φ(k_t)/n + 1/n,   o_i = Σ_j a_ij v_j + local_i
NaiveLinear naive_injective(const attenta::InjectiveInputs& in, const Options& x, const LinearState& past) {
    const View &q = in.q, &k = in.k, &v = in.v;
    const std::int64_t D = k.dim;
    NaiveLinear r = naive_start(q.heads, q.tokens, k.heads, D + 1, v.dim, past);
    r.normalizer = naive_past(past.normalizer, k.heads * (D + 1));
    for (std::int64_t h = 0; h < k.heads; ++h)
        for (std::int64_t j = 0; j < k.tokens; ++j) {
            Row phi = naive_injective_feature(naive_row(k, h, k.heads, j), x);
            phi.push_back(1);
            naive_add(r, h, phi, naive_row(v, h, k.heads, j));
            for (std::int64_t f = 0; f <= D; ++f) r.z_row(h)[f] += phi.data()[f];
        }
    for (std::int64_t i = 0; i < q.heads; ++i)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            const std::int64_t h = i / (q.heads / k.heads);
            const double n = r.z_row(h)[D];
            Row phi = naive_injective_feature(naive_row(q, i, q.heads, t), x);
            for (double& e : phi) e *= naive_scale(x.scale, D) / n;
            phi.push_back(1 / n - naive_dot(r.z_row(h), phi) / n);
            const Row y = naive_read(r, h, phi);
            for (std::int64_t e = 0; e < v.dim; ++e) r.o_row(i, t)[e] = y.data()[e] + naive_local(in, x, i, t, e);
        }
    return r;
}

template <InjectiveFeature feature>
void set_feature(LinearCase& c) {
    options_of<Options>(c).feature = feature;
}

/// A grid of one or two rows of all tokens but at most one.
void set_grid(LinearCase& c) {
    c.shape.Tq = c.shape.T;  // parts of the sequence would need grids of their own
    Options& o = options_of<Options>(c);
    o.prefix = c.shape.T > 1 ? c.shape.T % 2 : 0;
    o.grid_height = c.shape.T > 1 ? 2 : 1;
    o.grid_width = (c.shape.T - o.prefix) / o.grid_height;
    Tensor<float> weight(c.shape.Hq, 9, c.shape.Dv, c.order, c.pad);
    weight.each_row([&](float* row, std::int64_t, std::int64_t) {
        for (std::int64_t d = 0; d < c.shape.Dv; ++d) row[d] = 0.3f * c.random.normal();
    });
    c.inputs.insert_or_assign("local_weight", LinearInput{std::move(weight), Along::nothing});
}

const LinearMechanism& injective = test_linear<&attenta::injective, naive_injective>(
    {.name = "injective",
     .variants = {{"relu", set_feature<InjectiveFeature::relu>},
                  {"leaky_relu, scale -0.5",
                   [](LinearCase& c) {
                       set_feature<InjectiveFeature::leaky_relu>(c);
                       options_of<Options>(c).scale = -0.5f;
                   }},
                  {"exp", set_feature<InjectiveFeature::exp>},
                  {"grid", set_grid},
                  {"fewer queries than keys", [](LinearCase& c) { set_queries(c, (c.shape.T + 2) / 3); }},
                  {"more queries than keys", [](LinearCase& c) { set_queries(c, c.shape.T + 5); }}},
     .has_history = true,
     .can_be_cut = [](const LinearCase&) { return false; }});

/// Weights sum to one: equal values are what comes out, whatever queries and keys are.
TEST(Injective, WeightsSumToOne) {
    for (const std::int64_t T : {1, 40, 100}) {
        const LinearCase c = linear_case(injective, {4, 2, 2, T, 12, 9}, Gates::mild, 3);
        change(const_cast<LinearCase&>(c), "v", [](float) { return 2.5f; });
        on_every_isa([&](Context& context) {
            for (const float o : rows_of(attend(c, context).o)) EXPECT_NEAR(o, 2.5f, 1e-5f) << describe(c);
        });
    }
}

/// A square grid of several rows, where tokens have all their neighbours.
TEST(Injective, HoldsForAGrid) {
    LinearCase c = linear_case(injective, {4, 2, 2, 57, 12, 13}, Gates::mild, 4);
    options_of<Options>(c).prefix = 1, options_of<Options>(c).grid_height = 7, options_of<Options>(c).grid_width = 8;
    std::vector<LinearCase> cases;
    cases.push_back(std::move(c));
    expect_definition(cases);
}

TEST(InjectiveErrors, OptionsAndGrids) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const OwnErrors errors(injective);
    EXPECT_TRUE(errors.refused({"q", "3", "2"}, [](Call& c) { c.x.at("q").heads = c.o.heads = 3; }));
    EXPECT_TRUE(errors.refused({"v", "1", "2"}, [](Call& c) { c.x.at("v").heads = 1; }));
    EXPECT_TRUE(errors.refused({"temperature"}, [nan](Call& c) { c.options<Options>().temperature = nan; }));
    EXPECT_TRUE(errors.refused({"prefix", "-1"}, [](Call& c) { c.options<Options>().prefix = -1; }));
    EXPECT_TRUE(errors.refused(
        {"grid_height", "8", "6"}, [](Call& c) { c.options<Options>().grid_width = 4; }, 4));
    EXPECT_TRUE(errors.refused(
        {"grid_height", "0"}, [](Call& c) { c.options<Options>().grid_height = 0; }, 4));
    EXPECT_TRUE(errors.refused(
        {"local_weight", "8", "9"}, [](Call& c) { c.x.at("local_weight").tokens = 8; }, 4));
    EXPECT_TRUE(errors.refused(
        {"q", "5", "6"}, [](Call& c) { c.x.at("q").tokens = c.o.tokens = 5; }, 4));
}

}  // namespace
}  // namespace attenta_test
