#include <attenta/variants/network/sentinel.hpp>

#include "naive_network.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::SentinelInputs, attenta::SentinelOptions, attenta::SentinelOutputs;

//   s = σ(W_x x + W_h h_prev) ⊙ tanh m
std::vector<double> naive_sentinel(const SentinelInputs& x, std::int64_t h, std::int64_t i) {
    if (x.s.data) return wide(x.s.row(h, i), x.s.dim);
    const auto gates = naive_sum(naive_linear(x.w_x, wide(x.x.row(h, i), x.x.dim)),
                                 naive_linear(x.w_h, wide(x.h_prev.row(h, i), x.h_prev.dim)));
    auto s = wide(x.m.row(h, i), x.m.dim);
    for (std::size_t c = 0; c < s.size(); ++c) s[c] = naive_sigmoid_of(gates[c]) * std::tanh(s[c]);
    return s;
}

//   z_ij = w_a·tanh(W_v k_j + W_g q_i),  ζ_i = w_a·tanh(W_s s_i + W_g q_i),  softmax over both
Naive naive(const SentinelInputs& x, const SentinelOptions& o, std::vector<double>* beta) {
    const View k = k_of(x.kv), v = v_of(x.kv);
    const std::int64_t Hq = x.q.heads, Tq = x.q.tokens, Tk = k.tokens, group = Hq / k.heads;
    const auto half = [&](std::int64_t h, std::int64_t i) { return naive_linear(x.w_g, wide(x.q.row(h, i), x.q.dim)); };
    const auto keys = naive_rows(k, [&](const auto& row) { return naive_linear(x.w_v, row); });
    const auto own = [&](std::int64_t h, std::int64_t i) {
        return naive_tanh_score(x.w_a, naive_linear(x.w_s, naive_sentinel(x, h, i)), half(h, i));
    };
    Naive r = NaiveAttention{.score =
                                 [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                                     return naive_tanh_score(x.w_a, half(h, i),
                                                             keys[static_cast<std::size_t>(h / group * Tk + j)]);
                                 },
                             .sees = [&](std::int64_t h, std::int64_t i,
                                         std::int64_t j) { return naive_sees(o.visibility, h, i, Tq, j, Tk); },
                             .extra = own}(Hq, Tq, v);
    for (std::int64_t h = 0; h < Hq; ++h)
        for (std::int64_t i = 0; i < Tq; ++i) {
            const double weight = std::exp(own(h, i) - r.lse[static_cast<std::size_t>(h * Tq + i)]);
            const auto s = naive_sentinel(x, h, i);
            if (beta) beta->push_back(weight);
            for (std::int64_t c = 0; c < v.dim; ++c) r.o_row(h, i)[c] += weight * s[static_cast<std::size_t>(c)];
        }
    return r;
}
Naive definition(const SentinelInputs& x, const SentinelOptions& o) { return naive(x, o, nullptr); }

const auto& mechanism = test_attention<&attenta::sentinel, &definition>(
    {.name = "sentinel",
     .variants = {{"of a cell", [](AttentionCase& c) { c.sizes["X"] = 5; }}},
     .sizes = [](AttentionCase& c) { c.sizes["Dq"] = c.sizes["Dk"] = c.shape.D, c.sizes["A"] = 7, c.sizes["X"] = 0; },
     .fill =
         [](AttentionCase& c) {
             const Shape& s = c.shape;
             if (c.sizes["X"] == 0) return c.put("s", s.Hq, s.Tq, s.Dv);
             c.put("x", s.Hq, s.Tq, 5, 1, Order::token_head, 2);
             c.put("h_prev", s.Hq, s.Tq, s.D);
             c.put("m", s.Hq, s.Tq, s.Dv);
             c.put("w_x", 1, s.Dv, 5);
             c.put("w_h", 1, s.Dv, s.D);
         }});

TEST(Sentinel, GivesItsWeight) {
    AttentionCase c = attention_case(mechanism, {4, 2, 9, 20, 10, 6});
    const auto x = inputs_of<SentinelInputs>(c);
    std::vector<double> want;
    naive(x, {}, &want);
    Output got = output_of(c);
    std::vector<float> beta(36);
    SentinelOutputs out;
    out.o = got.o.view(), out.beta = beta.data();
    attenta::sentinel(x, out);
    for (std::size_t i = 0; i < 36; ++i) EXPECT_NEAR(double{beta[i]}, want[i], 1e-5);
}

TEST(SentinelErrors, RefusesWhatDoesNotFit) {
    AttentionCase c = attention_case(mechanism, {2, 1, 3, 20, 8, 8});
    Output out = output_of(c);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            auto x = inputs_of<SentinelInputs>(c);
            SentinelOutputs to;
            to.o = out.o.view(), to.lse = out.lse.data();
            change(x, to);
            attenta::sentinel(x, to);
        };
    };
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.s = {}; }), {"sentinel", "s", "null"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.m = x.s; }), {"sentinel", "s", "given", "1"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.s.dim = 7; }), {"s", "7"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto& to) { to.beta = const_cast<float*>(x.s.data); }), {"beta", "s"}));
    out.o.each_row([](const float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(std::isnan(row[0])); });
}

}  // namespace
}  // namespace attenta_test
