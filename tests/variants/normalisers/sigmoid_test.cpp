#include <attenta/variants/normalisers/sigmoid.hpp>

#include <memory>
#include <optional>
#include <vector>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"
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

/// Sequences of a prompt, a chunk, none, and a step.
struct SigmoidBatch {
    std::vector<std::int32_t> lengths = {19, 4, 0, 1};
    std::vector<std::int64_t> keys = {19, 70, 3, 131};
    Random random{3};
    Tensor<float> q = random_tensor(random, 4, 24, 20);
    std::vector<Tensor<float>> k, v;
    std::unique_ptr<PagedPool<float>> pool;
    Output out{4, 24, 12};

    SigmoidBatch() {
        std::vector<Sequence> sequences;
        for (const std::int64_t n : keys) {
            k.push_back(random_tensor(random, 2, n, 20)), v.push_back(random_tensor(random, 2, n, 12));
            sequences.push_back({k.back().view(), v.back().view()});
        }
        pool = std::make_unique<PagedPool<float>>(sequences, 16, PageLayout::head_token);
    }
    void call(const SigmoidOptions& options, Context& context) {
        attenta::sigmoid_sequences({q.view(), pool->view()}, lengths, {out.o.view()}, options, context);
    }
};

TEST(Sigmoid, OfSequencesIsThatOfEach) {
    on_every_isa([](Context& context) {
        for (const std::optional<float> bias : {std::optional<float>(), std::optional(-2.f)}) {
            SigmoidBatch b;
            SigmoidOptions options{.bias = bias};
            options.visibility.causal = true, options.visibility.window_left = 40;
            b.call(options, context);
            std::int64_t first = 0;
            for (std::size_t s = 0; s < b.keys.size(); ++s) {
                if (b.lengths[s] == 0) continue;
                attenta::Heads<const float> q = b.q.view();
                q.data = b.q.row(0, first), q.tokens = b.lengths[s];
                const Naive want = definition({q, attenta::KvView::of(b.k[s].view(), b.v[s].view())}, options);
                for (std::int64_t h = 0; h < 4; ++h)
                    for (std::int64_t t = 0; t < q.tokens; ++t)
                        for (std::int64_t c = 0; c < 12; ++c)
                            EXPECT_NEAR(double{b.out.o.row(h, first + t)[c]}, want.o_row(h, t)[c], 1e-5);
                first += q.tokens;
            }
        }
    });
}

TEST(Sigmoid, OfSequencesRefuses) {
    Context context;
    SigmoidBatch b;
    const bool seen[] = {true};
    SigmoidOptions masked;
    masked.visibility.mask = {seen, 1, 1, 1};
    EXPECT_TRUE(refuses([&] { b.call(masked, context); }, {"sigmoid_sequences", "mask", "batch"}));
    b.lengths[0] = 18;
    EXPECT_TRUE(refuses([&] { b.call({}, context); }, {"sigmoid_sequences", "q_lengths", "23", "24"}));
    b.lengths = {24};
    EXPECT_TRUE(refuses([&] { b.call({}, context); }, {"sigmoid_sequences", "q_lengths", "1", "4"}));
    b.lengths.clear();
    EXPECT_TRUE(refuses([&] { b.call({}, context); }, {"sigmoid_sequences", "q_lengths", "empty"}));
    const float fresh = untouched<float>();
    EXPECT_TRUE(same_bits(b.out.o.row(0, 0), &fresh, 1));
}

}  // namespace
}  // namespace attenta_test
