#include <attenta/variants/normalisers/relu.hpp>

#include <algorithm>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"
#include "variants/support/naive_weights.hpp"

namespace attenta_test {
namespace {

using attenta::ReluInputs, attenta::ReluOptions, attenta::ReluDivide;

Naive definition(const ReluInputs& x, const ReluOptions& o) {
    const std::int64_t keys = x.kv.length(0);
    return NaiveWeighted{.score = naive_scores(x, naive_scale(o.scale, x.q.dim)),
                         .sees = naive_visibility(o.visibility, x.q.tokens, keys),
                         .weigh = [&](std::int64_t, std::int64_t, Row& s) {
                             const double seen = count_seen(s);
                             double sum = 0;
                             map_seen(s, [&](double y) {
                                 const double w = std::pow(std::max(y, 0.0), static_cast<double>(o.power));
                                 sum += w;
                                 return w;
                             });
                             const double by = o.divide == ReluDivide::length ? seen
                                               : o.divide == ReluDivide::sum  ? sum + double{o.eps}
                                                                              : 1;
                             map_seen(s, [&](double y) { return y / by; });
                         }}(x.q.heads, x.q.tokens, v_of(x.kv));
}

const auto& mechanism = test_attention<&attenta::relu, &definition>(
    {.name = "relu",
     .variants = {{"squared", [](AttentionCase& c) { options_of<ReluOptions>(c).power = 2; }},
                  {"sum", [](AttentionCase& c) { options_of<ReluOptions>(c).divide = ReluDivide::sum; }},
                  {"squared sum",
                   [](AttentionCase& c) {
                       options_of<ReluOptions>(c).power = 2;
                       options_of<ReluOptions>(c).divide = ReluDivide::sum;
                   }},
                  {"none",
                   [](AttentionCase& c) {
                       options_of<ReluOptions>(c).divide = ReluDivide::none;
                       options_of<ReluOptions>(c).scale = 0.02f;
                   }}},
     .more_queries_than_keys = false});

TEST(Relu, RefusesOptions) {
    const auto refused = [](auto&& set, std::initializer_list<std::string_view> words) {
        AttentionCase c = attention_case(mechanism, {2, 1, 5, 40, 16, 8});
        set(options_of<ReluOptions>(c));
        Output got = output_of(c);
        Context context;
        const auto result = refuses([&] { call(c, got, context); }, words);
        const float fresh = untouched<float>();
        EXPECT_TRUE(same_bits(got.o.row(0, 0), &fresh, 1));
        return result;
    };
    EXPECT_TRUE(refused([](ReluOptions& o) { o.power = 3; }, {"relu", "power", "3"}));
    EXPECT_TRUE(refused([](ReluOptions& o) { o.eps = -1; }, {"relu", "eps"}));
    EXPECT_TRUE(refused([](ReluOptions& o) { o.divide = static_cast<ReluDivide>(7); }, {"relu", "divide"}));
    EXPECT_TRUE(refused([](ReluOptions& o) { o.visibility.causal = true, o.visibility.window_left = -3; },
                        {"relu", "window_left"}));
}

/// Queries before the first key are refused, unless the call says where they stand.
TEST(Relu, RefusesACausalCallWithMoreQueriesThanKeys) {
    AttentionCase c(mechanism, {2, 1, 9, 5, 16, 8}, 1);
    c.put("q", 2, 9, 16), c.put("k", 1, 5, 16), c.put("v", 1, 5, 8);
    c.options = ReluOptions{};
    options_of<ReluOptions>(c).visibility.causal = true;
    Output got = output_of(c);
    Context context;
    EXPECT_TRUE(refuses([&] { call(c, got, context); }, {"relu", "q", "9", "5"}));
    options_of<ReluOptions>(c).visibility.q_offset = -4;
    call(c, got, context);
    EXPECT_TRUE(close(got, mechanism.naive(c)));
}

}  // namespace
}  // namespace attenta_test
