#include <attenta/softmax/relative/rcmha.hpp>

#include "naive_relative.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::RcmhaInputs, attenta::RcmhaOptions;

Tensor<float> convolved(const View& x, const attenta::Matrices<const float>& weight, std::span<const float> bias) {
    Tensor<float> y(x.heads, x.tokens, x.dim);
    y.each_row([&](float* row, std::int64_t h, std::int64_t t) {
        for (std::int64_t c = 0; c < x.dim; ++c) {
            double sum = double{bias[static_cast<std::size_t>(c)]};
            for (std::int64_t n = 0; n < weight.cols; ++n)
                if (const std::int64_t from = t - (weight.cols - 1) + n; from >= 0)
                    sum += double{weight.data[c * weight.row_stride + n]} * double{x.row(h, from)[c]};
            row[c] = static_cast<float>(sum);
        }
    });
    return y;
}

Naive definition(const RcmhaInputs& x, const RcmhaOptions& o) {
    const Tensor<float> q = convolved(x.q, x.conv_q_weight, x.conv_q_bias),
                        k = convolved(x.k, x.conv_k_weight, x.conv_k_bias),
                        v = convolved(x.v, x.conv_v_weight, x.conv_v_bias);
    const std::int64_t heads = x.q.heads, dim = x.q.dim, half = x.rel_k.tokens / 2;
    return naive_relative(q.view(), k.view(), v.view(), o.visibility, [&](auto h, auto i, auto j, auto d) {
        const auto row = wide(q.row(h, i), dim), u = wide(x.bias_u.data + h * x.bias_u.row_stride, dim);
        return naive_scale(o.scale, dim) * (naive_dot(plus(row, u), row_of(k.view(), h, heads, j)) +
                                            naive_dot(row, row_of(x.rel_k, h, heads, half + d)) +
                                            double{x.rel_bias.data[h * x.rel_bias.row_stride + half + d]});
    });
}

const auto& mechanism = test_attention<&attenta::rcmha, &definition>(
    {.name = "rcmha",
     .variants = {{"one tap", [](AttentionCase& c) { c.sizes["Cq"] = c.sizes["Ck"] = c.sizes["Cv"] = 1; }},
                  {"not causal, scale",
                   [](AttentionCase& c) {
                       options_of<RcmhaOptions>(c).visibility.causal = false;
                       options_of<RcmhaOptions>(c).scale = -0.5f;
                   }}},
     .sizes = [](AttentionCase& c) {
         c.sizes["Cq"] = 3, c.sizes["Ck"] = 2, c.sizes["Cv"] = 4;
         c.sizes["P2"] = 2 * (c.shape.Tk + c.shape.Tq + 40);
     }});

TEST(RcmhaErrors, RefusesTablesThatDoNotFit) {
    AttentionCase c = attention_case(mechanism, {2, 1, 3, 20, 8, 8});
    Output out = output_of(c);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            RcmhaInputs x = inputs_of<RcmhaInputs>(c);
            change(x);
            attenta::rcmha(x, {out.o.view(), out.lse.data()});
        };
    };
    EXPECT_TRUE(
        refuses(call_with([](auto& x) { x.rel_k.tokens = x.rel_bias.cols = 36; }), {"rcmha", "rel_k", "19", "18"}));
    EXPECT_TRUE(refuses(call_with([](auto& x) { x.rel_k.tokens = x.rel_bias.cols = 77; }), {"rel_k", "77", "even"}));
    EXPECT_TRUE(refuses(call_with([](auto& x) { x.conv_v_weight.cols = 0; }), {"conv_v_weight"}));
    EXPECT_TRUE(refuses(call_with([](auto& x) { x.conv_k_bias = x.conv_k_bias.first(3); }), {"conv_k_bias", "3", "8"}));
    out.o.each_row([](const float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(std::isnan(row[0])); });
}

}  // namespace
}  // namespace attenta_test
