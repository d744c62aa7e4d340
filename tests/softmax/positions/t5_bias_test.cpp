#include <attenta/softmax/positions/t5_bias.hpp>

#include <cmath>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::T5BiasInputs, attenta::T5BiasOptions;

std::int64_t bucket(std::int64_t d, std::int64_t buckets, std::int64_t max_distance, bool bidirectional) {
    const std::int64_t B = bidirectional ? buckets / 2 : buckets, base = bidirectional && d > 0 ? B : 0,
                       n = bidirectional ? std::abs(d) : std::max<std::int64_t>(-d, 0), exact = B / 2;
    if (n < exact) return base + n;
    const double far = std::log(static_cast<double>(n) / static_cast<double>(exact)) /
                       std::log(static_cast<double>(max_distance) / static_cast<double>(exact)) *
                       static_cast<double>(B - exact);
    return base + std::min(B - 1, exact + static_cast<std::int64_t>(std::floor(far + 1e-9)));
}

Naive definition(const T5BiasInputs& x, const T5BiasOptions& o) {
    const View k = k_of(x.kv);
    const std::int64_t Hq = x.q.heads, Tq = x.q.tokens, Tk = k.tokens, offset = o.visibility.q_offset.value_or(Tk - Tq);
    return NaiveAttention{
        .score =
            [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                const double s = double{o.scale.value_or(1)} *
                                 naive_dot(wide(x.q.row(h, i), x.q.dim), wide(k.row(h / (Hq / k.heads), j), k.dim));
                return s + double{x.rel_bias.row(
                               0, bucket(j - i - offset, x.rel_bias.rows, o.max_distance, *o.bidirectional))[h]};
            },
        .sees = [&](std::int64_t h, std::int64_t i,
                    std::int64_t j) { return naive_sees(o.visibility, h, i, Tq, j, Tk); }}(Hq, Tq, v_of(x.kv));
}

const auto& mechanism = test_attention<&attenta::t5_bias, &definition>(
    {.name = "t5_bias",
     .variants = {{"one direction",
                   [](AttentionCase& c) {
                       options_of<T5BiasOptions>(c) = {.bidirectional = false, .max_distance = 20};
                       options_of<T5BiasOptions>(c).visibility.causal = true;
                   }},
                  {"four buckets",
                   [](AttentionCase& c) {
                       options_of<T5BiasOptions>(c).max_distance = 2;
                       c.sizes["B"] = 4;
                   }},
                  {"odd buckets, distances beyond all",
                   [](AttentionCase& c) {
                       options_of<T5BiasOptions>(c) = {.bidirectional = false, .max_distance = std::int64_t{1} << 60};
                       c.sizes["B"] = 7;
                   }},
                  {"scale", [](AttentionCase& c) { options_of<T5BiasOptions>(c).scale = -0.25f; }}},
     .sizes = [](AttentionCase& c) { c.sizes["B"] = 16; },
     .options = T5BiasOptions{.bidirectional = true, .max_distance = 40}});

TEST(T5Bias, GivesBucketsOfEveryPair) {
    AttentionCase c = attention_case(mechanism, {2, 1, 5, 90, 8, 8});
    Output got = output_of(c);
    std::vector<std::int64_t> index(5 * 90, -1);
    attenta::T5BiasOutputs out;
    out.o = got.o.view();
    out.index = index.data();
    attenta::t5_bias(inputs_of<T5BiasInputs>(c), out, options_of<T5BiasOptions>(c));
    for (std::int64_t i = 0; i < 5; ++i)
        for (std::int64_t j = 0; j < 90; ++j)
            EXPECT_EQ(index[static_cast<std::size_t>(i * 90 + j)], bucket(j - i - 85, 16, 40, true)) << i << ' ' << j;
}

/// Exact powers open the next bucket.
TEST(T5Bias, BucketsOfDistances) {
    for (const bool both : {false, true})
        for (const auto& [buckets, most] : {std::pair{32, 128}, {16, 50}, {4, 3}, {8, 64}, {64, 1000}})
            for (std::int64_t d = -3000; d <= 3000; ++d)
                ASSERT_EQ(attenta::t5_bucket(d, buckets, most, both), bucket(d, buckets, most, both)) << d;
    EXPECT_EQ(attenta::t5_bucket(-32, 8, 128, false), 6);  // 4 · 2^3 of 4 · 2^5
}

/// A bias of -inf hides a key, as a mask does.
TEST(T5Bias, InfiniteBiasHides) {
    AttentionCase c = attention_case(mechanism, {2, 1, 30, 30, 8, 8});
    for (std::int64_t b = 0; b < 16; ++b)
        for (std::int64_t h = 0; h < 2; ++h) c.view("rel_bias").row(0, b)[h] = b == 0 ? 0 : -INFINITY;
    Output got = output_of(c);
    Context context;
    call(c, got, context);
    for (std::int64_t t = 0; t < 30; ++t)
        for (std::int64_t d = 0; d < 8; ++d) EXPECT_NEAR(got.o.row(0, t)[d], c.view("v").row(0, t)[d], 1e-6);
}

TEST(T5Bias, Refuses) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        AttentionCase c = attention_case(mechanism, {4, 2, 9, 40, 16, 24});
        spoil(c, options_of<T5BiasOptions>(c));
        Output out = output_of(c);
        Context context;
        return refuses([&] { call(c, out, context); }, words);
    };
    using O = T5BiasOptions;
    EXPECT_TRUE(refused({"t5_bias", "bidirectional"}, [](AttentionCase&, O& o) { o.bidirectional.reset(); }));
    EXPECT_TRUE(refused({"t5_bias", "max_distance", "4", "5"}, [](AttentionCase&, O& o) { o.max_distance = 4; }));
    EXPECT_TRUE(refused({"t5_bias", "rel_bias", "3"}, [](AttentionCase& c, O&) { c.view("rel_bias").tokens = 3; }));
    EXPECT_TRUE(refused({"t5_bias", "rel_bias", "5"}, [](AttentionCase& c, O&) { c.view("rel_bias").tokens = 5; }));
    EXPECT_TRUE(refused({"t5_bias", "rel_bias", "1"}, [](AttentionCase& c, O& o) {
        o.bidirectional = false;
        c.view("rel_bias").tokens = 1;
    }));
}

}  // namespace
}  // namespace attenta_test
