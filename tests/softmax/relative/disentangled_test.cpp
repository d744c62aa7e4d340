#include <attenta/softmax/relative/disentangled.hpp>

#include <cmath>

#include "naive_relative.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::DisentangledInputs, attenta::DisentangledOptions;

std::int64_t delta(std::int64_t d, std::int64_t span, const DisentangledOptions& o) {
    if (o.buckets > 0) {
        const std::int64_t mid = o.buckets / 2, most = o.max_position - 1;
        d = std::clamp(d, -most, most);
        if (std::abs(d) > mid) {
            const auto m = static_cast<double>(mid);
            const double b = m + std::ceil(std::log(static_cast<double>(std::abs(d)) / m) /
                                               std::log(static_cast<double>(most) / m) * (m - 1) -
                                           1e-9);
            d = static_cast<std::int64_t>(d < 0 ? -b : b);
        }
    }
    return std::clamp<std::int64_t>(d + span, 0, 2 * span - 1);
}

bool has(const DisentangledOptions& o, const char* term) {
    return std::find(o.terms.begin(), o.terms.end(), term) != o.terms.end();
}

Naive definition(const DisentangledInputs& x, const DisentangledOptions& o) {
    const View k = k_of(x.kv);
    const std::int64_t heads = x.q.heads, span = (x.pos_k.data ? x.pos_k : x.pos_q).tokens / 2;
    return naive_relative(x.q, k, v_of(x.kv), o.visibility, [&](auto h, auto i, auto j, auto d) {
        const auto q = wide(x.q.row(h, i), x.q.dim), key = row_of(k, h, heads, j);
        double s = 0;
        if (has(o, "c2c")) s += naive_dot(q, key);
        if (has(o, "c2p")) s += naive_dot(q, row_of(x.pos_k, h, heads, delta(-d, span, o)));
        if (has(o, "p2c"))
            s += naive_dot(
                key, row_of(x.pos_q, h, heads, delta(o.p2c_index == attenta::P2cIndex::released ? -d : d, span, o)));
        return s * naive_scale(o.scale, x.q.dim * static_cast<std::int64_t>(o.terms.size()));
    });
}

const auto& mechanism = test_attention<&attenta::disentangled, &definition>(
    {.name = "disentangled",
     .variants = {{"buckets, tables of heads",
                   [](AttentionCase& c) {
                       options_of<DisentangledOptions>(c).buckets = 8;
                       options_of<DisentangledOptions>(c).max_position = 40;
                       c.sizes["Hr"] = c.sizes["Hp"] = c.shape.Hq;
                   }},
                  {"the paper's index, scale",
                   [](AttentionCase& c) {
                       options_of<DisentangledOptions>(c).p2c_index = attenta::P2cIndex::paper;
                       options_of<DisentangledOptions>(c).scale = -0.2f;
                       c.sizes["Hp"] = c.shape.Hkv;
                   }},
                  {"content to position alone",
                   [](AttentionCase& c) { options_of<DisentangledOptions>(c).terms = {"c2p"}; }},
                  {"position to content and content",
                   [](AttentionCase& c) {
                       options_of<DisentangledOptions>(c).terms = {"p2c", "c2c"};
                   }}},
     .sizes = [](AttentionCase& c) { c.sizes["Hr"] = c.sizes["Hp"] = 1, c.sizes["TP"] = 16; },
     .fill =
         [](AttentionCase& c) {
             c.put("pos_k", c.sizes["Hr"], c.sizes["TP"], c.shape.D);
             c.put("pos_q", c.sizes["Hp"], c.sizes["TP"], c.shape.D);
         }});

TEST(Disentangled, GivesRowsOfEveryPair) {
    AttentionCase c = attention_case(mechanism, {2, 1, 5, 90, 8, 8}, 1);
    Output got = output_of(c);
    std::vector<std::int64_t> index(5 * 90, -1);
    attenta::DisentangledOutputs out;
    out.o = got.o.view();
    out.index = index.data();
    const auto& o = options_of<DisentangledOptions>(c);
    attenta::disentangled(inputs_of<DisentangledInputs>(c), out, o);
    for (std::int64_t i = 0; i < 5; ++i)
        for (std::int64_t j = 0; j < 90; ++j)
            EXPECT_EQ(index[static_cast<std::size_t>(i * 90 + j)], delta(i + 85 - j, 8, o)) << i << ' ' << j;
}

TEST(DisentangledErrors, RefusesWhatDoesNotFit) {
    AttentionCase c = attention_case(mechanism, {2, 1, 3, 20, 8, 8});
    Output out = output_of(c);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            DisentangledInputs x = inputs_of<DisentangledInputs>(c);
            DisentangledOptions o;
            change(x, o);
            attenta::DisentangledOutputs to;
            to.o = out.o.view();
            attenta::disentangled(x, to, o);
        };
    };
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o) { o.terms = {}; }), {"disentangled", "terms", "empty"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o) { o.terms = {"c2c", "c2c"}; }), {"terms", "c2c", "twice"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o) { o.terms = {"p2p"}; }), {"terms", "p2p"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.pos_q.data = nullptr; }), {"pos_q", "p2c"}));
    EXPECT_TRUE(
        refuses(call_with([](auto& x, auto&) { x.pos_q.tokens = x.pos_k.tokens = 15; }), {"pos_k", "15", "even"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.pos_q.tokens = 14; }), {"pos_q", "14", "16"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o) { o.buckets = 3; }), {"buckets", "3", "16"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o) { o.buckets = 8, o.max_position = 5; }), {"max_position", "5"}));
    out.o.each_row([](const float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(std::isnan(row[0])); });
}

}  // namespace
}  // namespace attenta_test
