// Comba equals its definition; with the decayed key it is the gated delta rule; its own errors.
#include <attenta/linear/delta/comba.hpp>
#include <attenta/linear/delta/gated_delta_rule.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "linear/support/naive_delta.hpp"

namespace attenta_test {
namespace {

//   S_t = exp(g_t) S_{t-1} + β_t k_t (v_t − S_{t-1}ᵀ p_t)ᵀ,   o_t = scale · S_tᵀ q_t
NaiveLinear naive_comba(const attenta::CombaInputs& in, const attenta::CombaOptions& x, const LinearState& past) {
    const auto& [q, k, v, p, g, beta] = in;
    const std::int64_t hs = std::max(k.heads, v.heads);
    NaiveLinear r = naive_start(std::max(q.heads, hs), q.tokens, hs, q.dim, v.dim, past);
    const auto row = [&, &options = x](View from, std::int64_t h, std::int64_t t) {
        Row y = naive_row(from, h, hs, t);
        return options.qk_l2norm ? naive_unit(std::move(y), double{options.eps}) : y;
    };
    for (std::int64_t h = 0; h < hs; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            const Row predicted = naive_read(r, h, row(p, h, t));
            Row added = naive_row(v, h, hs, t);
            for (std::size_t e = 0; e < added.size(); ++e)
                added[e] = double{beta.row(h, t)[0]} * (added[e] - predicted[e]);
            naive_decay(r, h, g, t);
            naive_add(r, h, row(k, h, t), added);
            naive_read_heads(r, h, q, t, x);
        }
    return r;
}

using Options = attenta::CombaOptions;

/// p = 0.6 k, as a layer forms it.
void fill(LinearCase& c) {
    fill_delta(c);
    c.put_normal("p", Along::keys, c.shape.Hk, c.shape.D);
    const View k = c.inputs.find("k")->second.tensor.view();
    c.inputs.find("p")->second.tensor.each_row([&](float* row, std::int64_t h, std::int64_t t) {
        for (std::int64_t d = 0; d < c.shape.D; ++d) row[d] = 0.6f * k.row(h, t)[d];
    });
}

const LinearMechanism& comba = test_linear<&attenta::comba, naive_comba>(
    {"comba",
     {{"scale -1.5", [](LinearCase& c) { options_of<Options>(c).scale = -1.5f; }},
      {"qk_l2norm",
       [](LinearCase& c) {
           options_of<Options>(c).qk_l2norm = true;
           c.put_normal("k", Along::keys, c.shape.Hk, c.shape.D, 3);
           change(c, "p", [](float p) { return 5 * p; });
       }},
      {"p of its own", [](LinearCase& c) { c.put_units("p", Along::keys, c.shape.Hk, c.shape.D, 0.3f); }}},
     fill});

TEST(Comba, WithTheDecayedKeyIsTheGatedDeltaRule) {
    LinearCase c = linear_case(comba, {2, 2, 2, 75, 24, 16}, Gates::mild, 0, true);
    const View k = c.inputs.find("k")->second.tensor.view(), g = c.inputs.find("g")->second.tensor.view();
    c.inputs.find("p")->second.tensor.each_row([&](float* row, std::int64_t h, std::int64_t t) {
        for (std::int64_t d = 0; d < 24; ++d) row[d] = std::exp(g.row(h, t)[0]) * k.row(h, t)[d];
    });
    const LinearViews x = c.views();
    on_every_isa([&](Context& context) {
        const LinearOutput got = attend(c, context);
        LinearOutput want{Tensor<float>(2, 75, 16), c.past};
        attenta::gated_delta_rule({x["q"], x["k"], x["v"], x["g"], x["beta"]}, want.o.view(), want.state, {}, context);
        EXPECT_LE(distance(rows_of(got.o), rows_of(want.o)), 1e-5);
        EXPECT_LE(distance(got.state, want.state), 1e-5);
    });
}

TEST(CombaErrors, HeadsWidthsAndEps) {
    expect_delta_errors(comba);
    const OwnErrors errors(comba);
    EXPECT_TRUE(errors.refused({"p", "15", "16"}, [](Call& c) { c.x.at("p").dim = 15; }));
    EXPECT_TRUE(errors.refused({"p", "1", "2"}, [](Call& c) { c.x.at("p").heads = 1; }));
    EXPECT_TRUE(errors.refused({"g", "16"}, [](Call& c) { c.x.at("g").dim = 16; }));
}

}  // namespace
}  // namespace attenta_test
