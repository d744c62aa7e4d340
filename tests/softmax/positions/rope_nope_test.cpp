#include <attenta/softmax/positions/rope_nope.hpp>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::QueryKeyNorm, attenta::RopeNopeInputs, attenta::RopeNopeLayer, attenta::RopeNopeOptions;

Naive definition(const RopeNopeInputs& x, const RopeNopeOptions& o) {
    const std::int64_t Hq = x.q.heads, group = Hq / x.k.heads, Tq = x.q.tokens, Tk = x.k.tokens, D = x.q.dim,
                       offset = o.q_offset.value_or(Tk - Tq);
    const bool rope = o.layer == RopeNopeLayer::rope;
    const auto prepared = [&](const float* row, const attenta::Matrices<const float>& weight, std::int64_t head,
                              std::int64_t position) {
        std::vector<double> r = wide(row, D);
        if (o.norm != QueryKeyNorm::none) {
            r = naive_normalised(std::move(r), o.norm == QueryKeyNorm::layer, double{o.eps});
            for (std::int64_t c = 0; c < D; ++c)
                r[static_cast<std::size_t>(c)] *= double{weight.row(0, weight.rows == 1 ? 0 : head)[c]};
        }
        return rope ? naive_rotated(std::move(r), static_cast<double>(position), o.base, D,
                                    o.layout == attenta::RopeLayout::interleaved)
                    : r;
    };
    return NaiveAttention{.score =
                              [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                                  return naive_scale(o.scale, D) *
                                         naive_dot(prepared(x.q.row(h, i), x.q_norm, h, i + offset),
                                                   prepared(x.k.row(h / group, j), x.k_norm, h / group, j));
                              },
                          .sees =
                              [&](std::int64_t, std::int64_t i, std::int64_t j) {
                                  return j <= i + offset && (!rope || o.window == 0 || j > i + offset - o.window);
                              }}(Hq, Tq, x.v);
}

const auto& mechanism = test_attention<&attenta::rope_nope, &definition>(
    {.name = "rope_nope",
     .variants =
         {{"nope",
           [](AttentionCase& c) { options_of<RopeNopeOptions>(c) = {.layer = RopeNopeLayer::nope, .window = 3}; }},
          {"window", [](AttentionCase& c) { options_of<RopeNopeOptions>(c) = {.window = 8, .base = 500}; }},
          {"window of one key", [](AttentionCase& c) { options_of<RopeNopeOptions>(c).window = 1; }},
          {"halves, rms",
           [](AttentionCase& c) {
               options_of<RopeNopeOptions>(c) = {
                   .window = 20, .layout = attenta::RopeLayout::half, .norm = QueryKeyNorm::rms, .scale = 0.3f};
           }},
          {"nope, layer norm",
           [](AttentionCase& c) {
               options_of<RopeNopeOptions>(c) = {
                   .layer = RopeNopeLayer::nope, .norm = QueryKeyNorm::layer, .eps = 0.1f};
           }},
          {"positions before the keys",
           [](AttentionCase& c) { options_of<RopeNopeOptions>(c) = {.window = 5, .q_offset = -c.shape.Tq / 2}; }},
          {"positions behind the keys",
           [](AttentionCase& c) { options_of<RopeNopeOptions>(c) = {.window = 5, .q_offset = c.shape.Tk + 2}; }}},
     .fill = [](AttentionCase& c) {
         if (options_of<RopeNopeOptions>(c).norm == QueryKeyNorm::none) return;
         c.put("q_norm", 1, c.shape.Tq % 2 == 0 ? 1 : c.shape.Hq, c.shape.D);
         c.put("k_norm", 1, c.shape.Tq % 2 == 0 ? c.shape.Hkv : 1, c.shape.D);
     }});

TEST(RopeNope, EveryFourthLayer) {
    std::string kinds;
    for (int n = 0; n < 9; ++n) kinds += attenta::is_nope_layer(n) ? 'n' : 'r';
    EXPECT_EQ(kinds, "rrrnrrrnr");
}

TEST(RopeNope, Refuses) {
    const auto refused = [](std::size_t variant, std::initializer_list<std::string_view> words, auto&& spoil) {
        AttentionCase c = attention_case(mechanism, {4, 2, 9, 40, 16, 24}, variant);
        spoil(c, options_of<RopeNopeOptions>(c));
        Output out = output_of(c);
        Context context;
        return refuses([&] { call(c, out, context); }, words);
    };
    using O = RopeNopeOptions;
    EXPECT_TRUE(refused(0, {"rope_nope", "window", "-1"}, [](AttentionCase&, O& o) { o.window = -1; }));
    EXPECT_TRUE(refused(0, {"rope_nope", "base", "0"}, [](AttentionCase&, O& o) { o.base = 0; }));
    EXPECT_TRUE(refused(0, {"rope_nope", "q_norm"}, [](AttentionCase& c, O&) { c.put("q_norm", 1, 1, 16); }));
    EXPECT_TRUE(refused(4, {"rope_nope", "k_norm"}, [](AttentionCase& c, O&) { c.floats.erase("k_norm"); }));
    EXPECT_TRUE(refused(4, {"rope_nope", "k_norm", "4"}, [](AttentionCase& c, O&) { c.put("k_norm", 1, 4, 16); }));
    EXPECT_TRUE(refused(0, {"rope_nope", "15"}, [](AttentionCase& c, O&) { c.view("q").dim = c.view("k").dim = 15; }));
    EXPECT_TRUE(refused(0, {"rope_nope", "eps"}, [](AttentionCase&, O& o) { o.eps = -1; }));
}

}  // namespace
}  // namespace attenta_test
