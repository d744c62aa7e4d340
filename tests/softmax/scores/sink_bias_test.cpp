#include <attenta/softmax/scores/sink_bias.hpp>

#include "softmax/support/mechanism.hpp"

namespace attenta_test {
namespace {

using attenta::SinkBiasInputs, attenta::SinkBiasOptions;

Naive definition(const SinkBiasInputs& x, const SinkBiasOptions& o) {
    const View k = k_of(x.kv);
    const std::int64_t Hq = x.q.heads, group = Hq / k.heads, Tq = x.q.tokens, Tk = k.tokens;
    const double scale = naive_scale(o.scale, x.q.dim);
    const auto score = [&](std::int64_t h, std::int64_t i, const float* key) {
        return scale * naive_dot(wide(x.q.row(h, i), x.q.dim), wide(key, x.q.dim));
    };
    return NaiveAttention{
        .score = [&](std::int64_t h, std::int64_t i, std::int64_t j) { return score(h, i, k.row(h / group, j)); },
        .sees = [&](std::int64_t h, std::int64_t i,
                    std::int64_t j) { return naive_sees(o.visibility, h, i, Tq, j, Tk); },
        .extra = [&](std::int64_t h, std::int64_t i) { return score(h, i, x.k_bias.row(0, h / group)); },
        .extra_value = [&](std::int64_t h) { return x.v_bias.row(0, h / group); }}(Hq, Tq, v_of(x.kv));
}

const auto& mechanism = test_attention<&attenta::sink_bias, &definition>(
    {.name = "sink_bias",
     .variants = {{"scale", [](AttentionCase& c) { options_of<SinkBiasOptions>(c).scale = 3.f; }},
                  {"scale below 0", [](AttentionCase& c) { options_of<SinkBiasOptions>(c).scale = -0.5f; }}}});

/// With v' = 0 it is a sink whose logit depends on the query.
TEST(SinkBias, WithoutAValueIsASink) {
    AttentionCase c = attention_case(mechanism, {2, 2, 1, 50, 8, 8});
    std::vector<float> sink;
    for (std::int64_t h = 0; h < 2; ++h) {
        std::fill_n(c.view("v_bias").row(0, h), 8, 0.f);
        sink.push_back(static_cast<float>(
            naive_dot(wide(c.view("q").row(h, 0), 8), wide(c.view("k_bias").row(0, h), 8)) / std::sqrt(8.0)));
    }
    Output got = output_of(c), want = output_of(c);
    Context context;
    call(c, got, context);
    attenta::softmax_attention(c.view("q"), c.view("k"), c.view("v"), want.o.view(), {.sink = sink}, want.lse.data());
    EXPECT_LT(distance(got, want), 1e-6);
}

/// Scores of a thousand more or less leave one of the parts.
TEST(SinkBias, PartsThatVanish) {
    for (const float scale : {300.f, -300.f}) {
        AttentionCase c = attention_case(mechanism, {2, 2, 40, 50, 8, 8});
        options_of<SinkBiasOptions>(c).scale = scale;
        Output got = output_of(c);
        Context context;
        call(c, got, context);
        EXPECT_TRUE(close(got, mechanism.naive(c), {2e-4, 2e-3}));
    }
}

}  // namespace
}  // namespace attenta_test
