#include <attenta/softmax/relative/relative_shaw.hpp>

#include "naive_relative.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::RelativeShawInputs, attenta::RelativeShawOptions;

/// Values depend on the pair, so that the sum over keys is written out.
Naive definition(const RelativeShawInputs& x, const RelativeShawOptions& o) {
    const View k = k_of(x.kv), v = v_of(x.kv);
    const std::int64_t heads = x.q.heads, clip = x.rel_k.tokens / 2, queries = x.q.tokens, keys = k.tokens,
                       offset = o.visibility.q_offset.value_or(keys - queries);
    const auto place = [&](std::int64_t i, std::int64_t j) { return std::clamp(j - i - offset, -clip, clip) + clip; };
    const auto score = [&](std::int64_t h, std::int64_t i, std::int64_t j) {
        return naive_scale(o.scale, x.q.dim) *
               naive_dot(wide(x.q.row(h, i), x.q.dim),
                         plus(row_of(k, h, heads, j), row_of(x.rel_k, h, heads, place(i, j))));
    };
    Naive r = naive_relative(x.q, k, v, o.visibility, [&](auto h, auto i, auto j, auto) { return score(h, i, j); });
    for (std::int64_t h = 0; x.rel_v.data && h < heads; ++h)
        for (std::int64_t i = 0; i < queries; ++i)
            for (std::int64_t j = 0; j < keys; ++j) {
                if (!naive_sees(o.visibility, h, i, queries, j, keys)) continue;
                const double w = std::exp(score(h, i, j) - r.lse[static_cast<std::size_t>(h * queries + i)]);
                const auto row = row_of(x.rel_v, h, heads, place(i, j));
                for (std::int64_t c = 0; c < v.dim; ++c) r.o_row(h, i)[c] += w * row[static_cast<std::size_t>(c)];
            }
    return r;
}

void put_values(AttentionCase& c) { c.put("rel_v", c.sizes["Hv"], c.sizes["TC"], c.shape.Dv); }

const auto& mechanism = test_attention<&attenta::relative_shaw, &definition>(
    {.name = "relative_shaw",
     .variants = {{"one table, no values",
                   [](AttentionCase& c) {
                       c.sizes["Hr"] = 1;
                       c.sizes["TC"] = 3;
                       c.sizes["Hv"] = 0;
                   }},
                  {"one distance", [](AttentionCase& c) { c.sizes["TC"] = 1; }},
                  {"more distances than keys", [](AttentionCase& c) { c.sizes["TC"] = 1001; }},
                  {"scale", [](AttentionCase& c) { options_of<RelativeShawOptions>(c).scale = -0.4f; }}},
     .sizes =
         [](AttentionCase& c) {
             c.sizes["Hr"] = c.shape.Hq;
             c.sizes["Hv"] = c.shape.Hkv;
             c.sizes["TC"] = 9;
         },
     .fill =
         [](AttentionCase& c) {
             if (c.sizes["Hv"] > 0) put_values(c);
         }});

TEST(RelativeShawErrors, RefusesTablesThatDoNotFit) {
    AttentionCase c = attention_case(mechanism, {4, 2, 3, 20, 8, 8});
    Output out = output_of(c);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            RelativeShawInputs x = inputs_of<RelativeShawInputs>(c);
            change(x);
            attenta::relative_shaw(x, {out.o.view(), out.lse.data()});
        };
    };
    EXPECT_TRUE(
        refuses(call_with([](auto& x) { x.rel_k.tokens = x.rel_v.tokens = 8; }), {"relative_shaw", "rel_k", "8"}));
    EXPECT_TRUE(refuses(call_with([](auto& x) { x.rel_v.tokens = 7; }), {"rel_v", "7", "9"}));
    EXPECT_TRUE(refuses(call_with([](auto& x) { x.rel_k.heads = 3, x.rel_k.head_stride = 0; }), {"rel_k", "3", "4"}));
    out.o.each_row([](const float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(std::isnan(row[0])); });
}

}  // namespace
}  // namespace attenta_test
