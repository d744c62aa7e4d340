#include <attenta/softmax/relative/relative_interaction.hpp>

#include "naive_relative.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::RelativeInteractionInputs, attenta::RelativeInteractionOptions;

Naive definition(const RelativeInteractionInputs& x, const RelativeInteractionOptions& o) {
    const View k = k_of(x.kv);
    const std::int64_t heads = x.q.heads, most = o.method == 1 ? x.rel.tokens - 1 : x.rel.tokens / 2;
    return naive_relative(x.q, k, v_of(x.kv), o.visibility, [&](auto h, auto i, auto j, auto d) {
        d = std::clamp<std::int64_t>(d, -most, most);
        const auto q = wide(x.q.row(h, i), x.q.dim), key = row_of(k, h, heads, j),
                   a = row_of(x.rel, h, heads, o.method == 1 ? std::abs(d) : d + most);
        double s = 0;
        if (o.method <= 2) s = naive_dot(q, key) * a[0];
        if (o.method == 3)
            for (std::size_t c = 0; c < q.size(); ++c) s += q[c] * key[c] * a[c];
        if (o.method == 4) s = naive_dot(q, key) + naive_dot(q, a) + naive_dot(key, a);
        return s * naive_scale(o.scale, x.q.dim);
    });
}

template <int method>
void set_method(AttentionCase& c) {
    options_of<RelativeInteractionOptions>(c).method = method;
    c.sizes["TM"] = method == 1 ? 6 : 9;
}

const auto& mechanism = test_attention<&attenta::relative_interaction, &definition>(
    {.name = "relative_interaction",
     .variants = {{"method 1", set_method<1>},
                  {"method 2, one table",
                   [](AttentionCase& c) {
                       set_method<2>(c);
                       c.sizes["Hr"] = 1;
                   }},
                  {"method 3", set_method<3>},
                  {"method 3, one table",
                   [](AttentionCase& c) {
                       set_method<3>(c);
                       c.sizes["Hr"] = 1;
                   }},
                  {"one table, scale",
                   [](AttentionCase& c) {
                       c.sizes["Hr"] = 1;
                       options_of<RelativeInteractionOptions>(c).scale = -0.3f;
                   }}},
     .sizes = [](AttentionCase& c) { c.sizes["Hr"] = c.shape.Hq, c.sizes["TM"] = 9; },
     .fill =
         [](AttentionCase& c) {
             const bool numbers = options_of<RelativeInteractionOptions>(c).method <= 2;
             c.put("rel", c.sizes["Hr"], c.sizes["TM"], numbers ? 1 : c.shape.D);
         }});

TEST(RelativeInteractionErrors, RefusesWhatDoesNotFit) {
    AttentionCase c = attention_case(mechanism, {2, 1, 3, 20, 8, 8});
    Output out = output_of(c);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            RelativeInteractionInputs x = inputs_of<RelativeInteractionInputs>(c);
            RelativeInteractionOptions o;
            change(x, o);
            attenta::relative_interaction(x, {out.o.view(), out.lse.data()}, o);
        };
    };
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o) { o.method = 5; }), {"relative_interaction", "method", "5"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o) { o.method = 2; }), {"rel", "8", "1"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.rel.tokens = 8; }), {"rel", "8", "odd"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.rel.heads = 3, x.rel.head_stride = 0; }), {"rel", "3", "2"}));
    out.o.each_row([](const float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(std::isnan(row[0])); });
}

}  // namespace
}  // namespace attenta_test
