// Gated DeltaNet-2 equals its definition; with one gate for all it is kda; its own errors.
#include <attenta/linear/delta/gdn2.hpp>
#include <attenta/linear/delta/kda.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "linear/support/naive_delta.hpp"

namespace attenta_test {
namespace {

//   S ← diag(exp g_t) S_{t-1};   S_t = S + k_t (w_t ⊙ v_t − Sᵀ (b_t ⊙ k_t))ᵀ;   o_t = scale · S_tᵀ q_t
NaiveLinear naive_gdn2(const attenta::Gdn2Inputs& in, const attenta::Gdn2Options& x, const LinearState& past) {
    const auto& [q, k, v, g, b, w] = in;
    const std::int64_t hs = std::max(k.heads, v.heads);
    NaiveLinear r = naive_start(std::max(q.heads, hs), q.tokens, hs, q.dim, v.dim, past);
    for (std::int64_t h = 0; h < hs; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            Row kt = naive_row(k, h, hs, t);
            if (x.qk_l2norm) kt = naive_unit(std::move(kt), double{x.eps});
            naive_decay(r, h, g, t);
            const Row erased = naive_read(r, h, naive_gated(kt, b.row(h, t)));
            Row added = naive_gated(naive_row(v, h, hs, t), w.row(h, t));
            for (std::size_t e = 0; e < added.size(); ++e) added[e] -= erased[e];
            naive_add(r, h, kt, added);
            naive_read_heads(r, h, q, t, x);
        }
    return r;
}

using Options = attenta::Gdn2Options;

void fill(LinearCase& c) {
    c.put_units("k", Along::keys, c.shape.Hk, c.shape.D);
    c.put_uniform("b", Along::keys, state_heads(c), c.shape.D, 0.05, 0.95);
    c.put_uniform("w", Along::keys, state_heads(c), c.shape.Dv, 0.05, 0.95);
}

const LinearMechanism& gdn2 = test_linear<&attenta::gdn2, naive_gdn2>(
    {"gdn2",
     {{"scale -1.5", [](LinearCase& c) { options_of<Options>(c).scale = -1.5f; }},
      {"qk_l2norm",
       [](LinearCase& c) {
           options_of<Options>(c).qk_l2norm = true;
           c.put_normal("k", Along::keys, c.shape.Hk, c.shape.D, 3);
       }},
      {"erases twice", [](LinearCase& c) { c.put_uniform("b", Along::keys, state_heads(c), c.shape.D, 1.8, 1.9); }},
      {"erases nothing",
       [](LinearCase& c) {
           c.put_uniform("b", Along::keys, state_heads(c), c.shape.D, 0, 0);
           change(c, "k", [](float k) { return 0.2f * k; });
       }}},
     fill});

TEST(Gdn2, WithOneGateIsKda) {
    const LinearCase c = linear_case(gdn2, {4, 2, 2, 75, 24, 16}, Gates::mild, 0, true);
    const LinearViews x = c.views();
    const auto ones_of = [&](float gate, std::int64_t dim) {
        Tensor<float> t(2, 75, dim);
        t.each_row([&](float* row, std::int64_t, std::int64_t i) {
            std::fill_n(row, dim, gate * static_cast<float>(1 + i % 7));
        });
        return t;
    };
    const Tensor<float> b = ones_of(0.1f, 24), w = ones_of(0.1f, 16), beta = ones_of(0.1f, 1);
    on_every_isa([&](Context& context) {
        LinearOutput got{Tensor<float>(4, 75, 16), c.past}, want{Tensor<float>(4, 75, 16), c.past};
        attenta::gdn2({x["q"], x["k"], x["v"], x["g"], b.view(), w.view()}, got.o.view(), got.state, {}, context);
        attenta::kda({x["q"], x["k"], x["v"], x["g"], beta.view()}, want.o.view(), want.state, {}, context);
        EXPECT_LE(distance(rows_of(got.o), rows_of(want.o)), 1e-6);
        EXPECT_LE(distance(got.state, want.state), 1e-6);
    });
}

TEST(Gdn2Errors, HeadsWidthsGatesAndEps) {
    const OwnErrors errors(gdn2);
    expect_errors_of_free_heads(gdn2);
    EXPECT_TRUE(errors.refused({"b", "1", "16"}, [](Call& c) { c.x.at("b").dim = 1; }));
    EXPECT_TRUE(errors.refused({"w", "1", "24"}, [](Call& c) { c.x.at("w").dim = 1; }));
    EXPECT_TRUE(errors.refused({"b", "1", "2"}, [](Call& c) { c.x.at("b").heads = 1; }));
    EXPECT_TRUE(errors.refused({"w", "5", "6"}, [](Call& c) { c.x.at("w").tokens = 5; }));
    EXPECT_TRUE(errors.refused({"g", "1", "16"}, [](Call& c) { c.x.at("g").dim = 1; }));
    for (const float eps : {-1.f, std::numeric_limits<float>::quiet_NaN()})
        EXPECT_TRUE(errors.refused({"eps"}, [eps](Call& c) { c.options<Options>().eps = eps; })) << eps;
}

}  // namespace
}  // namespace attenta_test
