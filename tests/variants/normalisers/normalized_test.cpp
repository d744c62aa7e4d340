#include <attenta/variants/normalisers/normalized.hpp>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"
#include "variants/support/naive_weights.hpp"

namespace attenta_test {
namespace {

using attenta::NormalizedInputs, attenta::NormalizedOptions, attenta::NormalizedEps;

Naive definition(const NormalizedInputs& x, const NormalizedOptions& o) {
    const std::int64_t keys = x.kv.length(0);
    return NaiveWeighted{
        .score = naive_scores(x, double{o.scale}),
        .sees = naive_visibility(o.visibility, x.q.tokens, keys),
        .weigh = [&](std::int64_t h, std::int64_t, Row& s) {
            const double n = count_seen(s), eps = double{o.eps};
            double mean = 0, variance = 0;
            for (const double y : s) mean += y != minus_infinity ? y / n : 0;
            for (const double y : s) variance += y != minus_infinity ? (y - mean) * (y - mean) / n : 0;
            const double den = o.eps_at == NormalizedEps::std ? std::sqrt(variance) + eps : std::sqrt(variance + eps);
            const auto head = static_cast<std::size_t>(h);
            map_seen(s, [&](double y) { return double{x.gain[head]} * (y - mean) / den + double{x.bias[head]}; });
        }}(x.q.heads, x.q.tokens, v_of(x.kv));
}

const auto& mechanism = test_attention<&attenta::normalized, &definition>(
    {.name = "normalized",
     .variants = {{"variance",
                   [](AttentionCase& c) {
                       options_of<NormalizedOptions>(c).eps_at = NormalizedEps::variance;
                       options_of<NormalizedOptions>(c).eps = 1e-5f;
                   }},
                  {"scale", [](AttentionCase& c) { options_of<NormalizedOptions>(c).scale = 0.1f; }}},
     .fill =
         [](AttentionCase& c) {
             for (const char* name : {"gain", "bias"})  // sums over thousands of keys stay near 1
                 for (std::int64_t h = 0; h < c.shape.Hq; ++h)
                     c.view(name).data[h] *= 3 / std::sqrt(static_cast<float>(c.shape.Tk));
         },
     .more_queries_than_keys = false});

/// The variance is far below the square of the mean.
TEST(Normalized, KeepsTheDigitsOfASmallVariance) {
    AttentionCase c = attention_case(mechanism, {2, 1, 5, 64, 8, 8});
    for (std::int64_t j = 0; j < 64; ++j) c.view("k").row(0, j)[0] = 64;
    for (std::int64_t h = 0; h < 2; ++h)
        for (std::int64_t i = 0; i < 5; ++i) {
            float* const q = c.view("q").row(h, i);
            std::fill_n(q, 8, 0.f);
            q[0] = 16, q[3] = 1;
        }
    // k[3] in steps of 2^-10, so that scores near 1024 are exact
    for (std::int64_t j = 0; j < 64; ++j) c.view("k").row(0, j)[3] = static_cast<float>(j % 7 - 3) / 1024;
    options_of<NormalizedOptions>(c).eps = 1e-6f;
    Output got = output_of(c);
    Context context;
    call(c, got, context);
    EXPECT_TRUE(close(got, mechanism.naive(c), {1e-4, 2e-3}));
}

/// Of one key the weight is the bias.
TEST(Normalized, OneKeyHasTheBias) {
    AttentionCase c = attention_case(mechanism, {3, 3, 1, 1, 8, 11});
    Output got = output_of(c);
    Context context;
    call(c, got, context);
    for (std::int64_t h = 0; h < 3; ++h)
        for (std::int64_t d = 0; d < 11; ++d)
            EXPECT_EQ(got.o.row(h, 0)[d], c.view("bias").data[h] * c.view("v").row(h, 0)[d]);
}

TEST(Normalized, RefusesEps) {
    for (const float eps : {0.f, -1.f, std::numeric_limits<float>::infinity()}) {
        AttentionCase c = attention_case(mechanism, {2, 1, 5, 40, 16, 8});
        options_of<NormalizedOptions>(c).eps = eps;
        Output got = output_of(c);
        Context context;
        EXPECT_TRUE(refuses([&] { call(c, got, context); }, {"normalized", "eps"}));
    }
}

}  // namespace
}  // namespace attenta_test
