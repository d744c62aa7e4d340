#include <attenta/softmax/relative/relative_xl.hpp>

#include "naive_relative.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::RelativeXlInputs, attenta::RelativeXlOptions;

Naive definition(const RelativeXlInputs& x, const RelativeXlOptions& o) {
    const View k = k_of(x.kv);
    const std::int64_t heads = x.q.heads, dim = x.q.dim;
    const auto r = [&](std::int64_t h, std::int64_t n) {
        if (x.r.data) return row_of(x.r, h, heads, n - o.r_first);
        if (o.clamp_len >= 0) n = std::clamp(n, -o.clamp_len, o.clamp_len);
        std::vector<double> row(static_cast<std::size_t>(dim));
        const std::int64_t waves = x.w_r.tokens / 2;
        for (std::int64_t m = 0; m < x.w_r.tokens; ++m) {
            const double angle = static_cast<double>(n) *
                                 std::pow(double{o.base}, -static_cast<double>(m % waves) / static_cast<double>(waves));
            const auto weight = row_of(x.w_r, h, heads, m);
            for (std::size_t c = 0; c < row.size(); ++c)
                row[c] += (m < waves ? std::sin(angle) : std::cos(angle)) * weight[c];
        }
        return row;
    };
    return naive_relative(x.q, k, v_of(x.kv), o.visibility, [&](auto h, auto i, auto j, auto d) {
        const auto q = wide(x.q.row(h, i), dim), u = wide(x.bias_u.data + h * x.bias_u.row_stride, dim),
                   v = wide(x.bias_v.data + h * x.bias_v.row_stride, dim);
        return naive_scale(o.scale, dim) *
               (naive_dot(plus(q, u), row_of(k, h, heads, j)) + naive_dot(plus(q, v), r(h, -d)));
    });
}

const auto& mechanism = test_attention<&attenta::relative_xl, &definition>(
    {.name = "relative_xl",
     .variants = {{"causal, one table of weights",
                   [](AttentionCase& c) {
                       c.sizes["Hr"] = 1;
                       options_of<RelativeXlOptions>(c).visibility.causal = true;
                   }},
                  {"clamped, base, scale",
                   [](AttentionCase& c) {
                       RelativeXlOptions& o = options_of<RelativeXlOptions>(c);
                       o.clamp_len = 6, o.base = 50, o.scale = -0.3f;
                   }},
                  {"a table",
                   [](AttentionCase& c) {
                       options_of<RelativeXlOptions>(c).r_first = -3000;
                       c.sizes["TL"] = 6000;
                   }},
                  {"a table of what a causal call needs",
                   [](AttentionCase& c) {
                       options_of<RelativeXlOptions>(c).visibility.causal = true;
                       c.sizes["TL"] = std::max(c.shape.Tk, c.shape.Tq);
                   }}},
     .sizes =
         [](AttentionCase& c) {
             c.sizes["Hr"] = c.shape.Hq;
             c.sizes["M"] = 10;
             c.sizes["TL"] = 0;
         },
     .fill =
         [](AttentionCase& c) {
             if (c.sizes["TL"] > 0)
                 c.put("r", c.sizes["Hr"], c.sizes["TL"], c.shape.D, 0.5f);
             else
                 c.put("w_r", c.sizes["Hr"], c.sizes["M"], c.shape.D, 0.3f);
         }});

TEST(RelativeXlErrors, RefusesTablesThatDoNotFit) {
    AttentionCase c = attention_case(mechanism, {2, 1, 3, 20, 8, 8}),
                  table = attention_case(mechanism, {2, 1, 3, 20, 8, 8}, 3);
    Output out = output_of(c);
    const auto call_with = [&](AttentionCase& from, auto&& change) {
        return [&, change] {
            RelativeXlInputs x = inputs_of<RelativeXlInputs>(from);
            RelativeXlOptions o;
            change(x, o);
            attenta::relative_xl(x, {out.o.view(), out.lse.data()}, o);
        };
    };
    EXPECT_TRUE(refuses(call_with(c, [](auto& x, auto&) { x.w_r.data = nullptr; }), {"relative_xl", "w_r", "r"}));
    EXPECT_TRUE(refuses(call_with(c, [](auto& x, auto&) { x.w_r.tokens = 9; }), {"w_r", "9", "even"}));
    EXPECT_TRUE(refuses(call_with(c, [](auto&, auto& o) { o.base = 0; }), {"base", "0"}));
    EXPECT_TRUE(refuses(call_with(c, [](auto&, auto& o) { o.clamp_len = -2; }), {"clamp_len", "2"}));
    EXPECT_TRUE(refuses(call_with(table, [](auto&, auto& o) { o.r_first = -1; }), {"r", "1", "2", "19"}));
    EXPECT_TRUE(refuses(call_with(table, [](auto& x, auto& o) { o.visibility.causal = true, x.r.tokens = 19; }),
                        {"r", "19", "0"}));
    out.o.each_row([](const float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(std::isnan(row[0])); });
}

}  // namespace
}  // namespace attenta_test
