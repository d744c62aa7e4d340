#include <attenta/variants/memory/intra_decoder.hpp>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"
#include "variants/support/naive_bilinear.hpp"

namespace attenta_test {
namespace {

using attenta::IntraDecoderInputs, attenta::IntraDecoderOptions;

Naive definition(const IntraDecoderInputs& x, const IntraDecoderOptions& o) {
    const std::int64_t keys = x.kv.length(0), offset = o.q_offset.value_or(keys - x.q.tokens);
    Naive r = NaiveAttention{.score = naive_bilinear(x, double{o.scale}),
                             .sees = [&](std::int64_t, std::int64_t i, std::int64_t j) { return j < i + offset; }}(
        x.q.heads, x.q.tokens, v_of(x.kv));
    r.lse.clear();
    return r;
}

const auto& mechanism = test_attention<&attenta::intra_decoder, &definition>(
    {.name = "intra_decoder",
     .variants = {{"bilinear",
                   [](AttentionCase& c) {
                       c.sizes["Dq"] = c.shape.D + 5;
                       c.put("w_a", 1, c.shape.D + 5, c.shape.D, 0.2f);
                   }},
                  {"narrow queries",
                   [](AttentionCase& c) {
                       c.sizes["Dq"] = 3;
                       c.put("w_a", 1, 3, c.shape.D);
                   }},
                  {"q_offset", [](AttentionCase& c) { options_of<IntraDecoderOptions>(c).q_offset = 3; }},
                  {"scale", [](AttentionCase& c) { options_of<IntraDecoderOptions>(c).scale = 0.1f; }}},
     .sizes = [](AttentionCase& c) { c.sizes["Dq"] = c.shape.D; },
     .more_queries_than_keys = false});

/// The first state reads a zero vector.
TEST(IntraDecoder, TheFirstStateReadsNothing) {
    AttentionCase c = attention_case(mechanism, {2, 1, 7, 7, 8, 8});
    Output got = output_of(c);
    Context context;
    call(c, got, context);
    for (std::int64_t h = 0; h < 2; ++h)
        for (std::int64_t d = 0; d < 8; ++d) EXPECT_EQ(got.o.row(h, 0)[d], 0.f);
}

TEST(IntraDecoder, RefusesMoreQueriesThanKeysAndMatricesThatDoNotFit) {
    AttentionCase c = attention_case(mechanism, {2, 1, 5, 5, 8, 8}, 1);
    Output got = output_of(c);
    Context context;
    c.view("k").tokens = c.view("v").tokens = 4;
    EXPECT_TRUE(refuses([&] { call(c, got, context); }, {"intra_decoder", "q", "5", "4"}));
    c.view("k").tokens = c.view("v").tokens = 5;
    c.view("w_a").dim = 7;
    EXPECT_TRUE(refuses([&] { call(c, got, context); }, {"intra_decoder"}));
    c.view("w_a").dim = 8;
    c.view("w_a").tokens = 12;
    EXPECT_TRUE(refuses([&] { call(c, got, context); }, {"intra_decoder", "w_a", "12"}));
    EXPECT_TRUE(got.o.padding_is_untouched());
}

}  // namespace
}  // namespace attenta_test
