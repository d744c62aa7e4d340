#include <attenta/variants/normalisers/sigmoid.hpp>

#include "softmax/support/mechanism.hpp"
#include "variants/support/naive_weights.hpp"

namespace attenta_test {
namespace {

using attenta::SigmoidInputs, attenta::SigmoidOptions;

Naive definition(const SigmoidInputs& x, const SigmoidOptions& o) {
    const std::int64_t keys = x.kv.length(0);
    const double bias = o.bias ? double{*o.bias} : -std::log(static_cast<double>(keys));
    return NaiveWeighted{.score = naive_scores(x, naive_scale(o.scale, x.q.dim)),
                         .sees = naive_visibility(o.visibility, x.q.tokens, keys),
                         .weigh = [&](std::int64_t, std::int64_t, Row& s) {
                             map_seen(s, [&](double y) { return naive_logistic(y + bias); });
                         }}(x.q.heads, x.q.tokens, v_of(x.kv));
}

const auto& mechanism = test_attention<&attenta::sigmoid, &definition>(
    {.name = "sigmoid",
     .variants = {{"bias", [](AttentionCase& c) { options_of<SigmoidOptions>(c).bias = -1.5f; }},
                  {"scale", [](AttentionCase& c) { options_of<SigmoidOptions>(c).scale = 3.f; }}},
     .more_queries_than_keys = false});

/// Scores so far from 0 that their weights are 0 or 1.
TEST(Sigmoid, Saturates) {
    AttentionCase c = attention_case(mechanism, {2, 1, 5, 40, 16, 8});
    options_of<SigmoidOptions>(c).scale = 1e4f;
    Output got = output_of(c);
    Context context;
    call(c, got, context);
    EXPECT_TRUE(close(got, mechanism.naive(c)));
}

/// A NaN among the values of a key that weighs nothing stays out.
TEST(Sigmoid, KeepsValuesWithoutWeightOut) {
    for (const std::int64_t queries : {1, 80}) {
        AttentionCase c = attention_case(mechanism, {2, 2, queries, 80, 16, 8});
        options_of<SigmoidOptions>(c).bias = -1e4f;
        c.view("v").row(1, 7)[3] = std::numeric_limits<float>::quiet_NaN();
        Output got = output_of(c);
        Context context;
        call(c, got, context);
        for (const float y : std::vector<float>(got.o.row(1, 0), got.o.row(1, 0) + 8)) EXPECT_EQ(y, 0.f);
    }
}

TEST(Sigmoid, RefusesABias) {
    AttentionCase c = attention_case(mechanism, {2, 1, 5, 40, 16, 8});
    options_of<SigmoidOptions>(c).bias = std::numeric_limits<float>::infinity();
    Output got = output_of(c);
    Context context;
    EXPECT_THROW(call(c, got, context), attenta::Error);
}

}  // namespace
}  // namespace attenta_test
