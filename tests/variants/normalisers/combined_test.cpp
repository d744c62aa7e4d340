#include <attenta/variants/scores/combined.hpp>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "variants/support/naive_weights.hpp"

namespace attenta_test {
namespace {

using attenta::CombinedInputs, attenta::CombinedOptions, attenta::CombinedOutputs, attenta::CombinedGate;

/// M [Hq, Tq, Tk]
struct NaivePairs {
    explicit NaivePairs(const CombinedInputs& x, const CombinedOptions& o) : keys(x.kv.length(0)), x_(x) {
        const View k = k_of(x.kv), qn = x.q_n.data ? x.q_n : x.q, kn = x.k_n.data ? x.k_n : k;
        const double scale = naive_scale(o.scale, x.q.dim);
        const auto products = naive_scores(x, double{o.alpha} * scale);
        const auto sees = naive_visibility(o.visibility, x.q.tokens, keys);
        for (std::int64_t h = 0; h < x.q.heads; ++h) {
            const auto distance = [&](std::int64_t i, std::int64_t j) {
                double sum = 0;
                for (std::int64_t c = 0; c < qn.dim; ++c)
                    sum += std::abs(double{qn.row(h, i)[c]} - double{kn.row(h / (x.q.heads / kn.heads), j)[c]});
                return -double{o.beta} * scale * sum;
            };
            double mean = 0, count = 0;
            for (std::int64_t i = 0; i < x.q.tokens; ++i)
                for (std::int64_t j = 0; j < keys; ++j)
                    if (sees(h, i, j)) mean += distance(i, j), count += 1;
            mean = o.gate == CombinedGate::center && count > 0 ? mean / count : 0;
            for (std::int64_t i = 0; i < x.q.tokens; ++i)
                for (std::int64_t j = 0; j < keys; ++j)
                    m.push_back(!sees(h, i, j) ? 0
                                               : std::tanh(products(h, i, j)) * naive_logistic(distance(i, j) - mean) *
                                                     (o.gate == CombinedGate::double_sigmoid ? 2 : 1));
        }
    }
    double at(std::int64_t h, std::int64_t i, std::int64_t j) const {
        return m[static_cast<std::size_t>((h * x_.q.tokens + i) * keys + j)];
    }

    std::int64_t keys;
    Row m;

private:
    const CombinedInputs& x_;
};

Naive definition(const CombinedInputs& x, const CombinedOptions& o) {
    const NaivePairs pairs(x, o);
    return NaiveWeighted{.score = [&](std::int64_t h, std::int64_t i, std::int64_t j) { return pairs.at(h, i, j); },
                         .sees = naive_visibility(o.visibility, x.q.tokens, pairs.keys),
                         .weigh = [](std::int64_t, std::int64_t, Row&) {}}(x.q.heads, x.q.tokens, v_of(x.kv));
}

void put_distances(AttentionCase& c) {
    c.put("q_n", c.shape.Hq, c.shape.Tq, c.shape.D + 3, 0.3f);
    c.put("k_n", c.shape.Hkv, c.shape.Tk, c.shape.D + 3, 0.3f);
}

const auto& mechanism = test_attention<&attenta::combined, &definition>(
    {.name = "combined",
     .variants = {{"center", [](AttentionCase& c) { options_of<CombinedOptions>(c).gate = CombinedGate::center; }},
                  {"sigmoid",
                   [](AttentionCase& c) {
                       options_of<CombinedOptions>(c).gate = CombinedGate::sigmoid;
                       options_of<CombinedOptions>(c).alpha = 2;
                       options_of<CombinedOptions>(c).beta = 0.5f;
                   }},
                  {"own distances", put_distances}},
     .keys_in_any_order = false,
     .more_queries_than_keys = false});

TEST(Combined, GivesTheOtherDirection) {
    for (const auto gate : {CombinedGate::double_sigmoid, CombinedGate::center})
        for (const bool causal : {false, true})
            for (const std::int64_t queries : {1, 70}) {
                AttentionCase c = attention_case(mechanism, {4, 2, queries, 90, 12, 8});
                if (causal) put_distances(c);
                c.put("v_q", 4, queries, 7);
                auto& o = options_of<CombinedOptions>(c);
                o.gate = gate;
                o.visibility.causal = causal;
                const auto x = inputs_of<CombinedInputs>(c);
                const NaivePairs pairs(x, o);
                on_every_isa([&](Context& context) {
                    Output got = output_of(c);
                    Tensor<float> o_k(4, 90, 7, Order::token_head, 1);
                    attenta::combined(x, {{got.o.view()}, o_k.view()}, o, context);
                    EXPECT_TRUE(close(got, definition(x, o)));
                    EXPECT_TRUE(o_k.padding_is_untouched());
                    for (std::int64_t h = 0; h < 4; ++h)
                        for (std::int64_t j = 0; j < 90; ++j)
                            for (std::int64_t d = 0; d < 7; ++d) {
                                double want = 0;
                                for (std::int64_t i = 0; i < queries; ++i)
                                    want += pairs.at(h, i, j) * double{x.v_q.row(h, i)[d]};
                                ASSERT_NEAR(o_k.row(h, j)[d], want, 2e-5 + 2e-4 * std::abs(want));
                            }
                });
            }
}

TEST(Combined, RefusesWhatDoesNotFit) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        AttentionCase c = attention_case(mechanism, {2, 1, 5, 40, 16, 8});
        c.put("v_q", 2, 5, 7);
        put_distances(c);
        auto& o = options_of<CombinedOptions>(c);
        auto x = inputs_of<CombinedInputs>(c);
        Output got = output_of(c);
        Tensor<float> o_k(2, 40, 7);
        CombinedOutputs out{{got.o.view()}, o_k.view()};
        spoil(x, o, out);
        const auto result = refuses([&] { attenta::combined(x, out, o); }, words);
        const float fresh = untouched<float>();
        EXPECT_TRUE(same_bits(got.o.row(0, 0), &fresh, 1));
        return result;
    };
    using In = CombinedInputs;
    using Opt = CombinedOptions;
    using Out = CombinedOutputs;
    EXPECT_TRUE(refused({"combined", "k_n"}, [](In& x, Opt&, Out&) { x.k_n = {}; }));
    EXPECT_TRUE(refused({"combined", "k_n"}, [](In& x, Opt&, Out&) { x.k_n.dim -= 1; }));
    EXPECT_TRUE(refused({"combined", "v_q"}, [](In& x, Opt&, Out&) { x.v_q = {}; }));
    EXPECT_TRUE(refused({"combined", "o_k"}, [](In&, Opt& o, Out&) { o.visibility.window_left = 3; }));
    EXPECT_TRUE(refused({"combined", "o_k"}, [](In&, Opt&, Out& out) { out.o_k.dim = 6; }));
    EXPECT_TRUE(refused({"combined", "o_k", "overlaps"}, [](In&, Opt&, Out& out) { out.o_k.data = out.o.data; }));
    EXPECT_TRUE(refused({"combined", "alpha"}, [](In&, Opt& o, Out&) { o.alpha = 1.f / 0.f; }));
    EXPECT_TRUE(refused({"combined", "beta"}, [](In&, Opt& o, Out&) { o.beta = 1.f / 0.f; }));
}

}  // namespace
}  // namespace attenta_test
