#include <attenta/variants/normalisers/entmax.hpp>
#include <attenta/variants/normalisers/sparsemax.hpp>

#include <algorithm>
#include <functional>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "variants/support/naive_weights.hpp"

namespace attenta_test {
namespace {

using attenta::EntmaxInputs, attenta::EntmaxOptions, attenta::EntmaxOutputs;
using attenta::SparsemaxInputs, attenta::SparsemaxOptions, attenta::SparsemaxOutputs;

/// The threshold by sorting.
double project(Row& s) {
    Row z;
    for (const double x : s)
        if (x != minus_infinity) z.push_back(x);
    std::sort(z.begin(), z.end(), std::greater<>());
    double sum = 0, tau = 0;
    for (std::size_t m = 1; m <= z.size(); ++m) {
        sum += z[m - 1];
        if (1 + static_cast<double>(m) * z[m - 1] > sum) tau = (sum - 1) / static_cast<double>(m);
    }
    map_seen(s, [&](double x) { return std::max(x - tau, 0.0); });
    return tau;
}

Naive sparsemax_definition(const SparsemaxInputs& x, const SparsemaxOptions& o) {
    const std::int64_t keys = x.kv.length(0);
    return NaiveWeighted{.score = naive_scores(x, naive_scale(o.scale, x.q.dim)),
                         .sees = naive_visibility(o.visibility, x.q.tokens, keys),
                         .weigh = [](std::int64_t, std::int64_t, Row& s) { project(s); }}(x.q.heads, x.q.tokens,
                                                                                          v_of(x.kv));
}

/// The threshold by bisection.
void entmax_row(Row& s, double alpha) {
    const double top = *std::max_element(s.begin(), s.end());
    const auto power = [&](double x, double tau) {
        return std::pow(std::max((alpha - 1) * (x - top) - tau, 0.0), 1 / (alpha - 1));
    };
    double low = -1, high = 0;
    for (int step = 0; step < 100; ++step) {
        const double middle = (low + high) / 2;
        double sum = 0;
        for (const double x : s) sum += x != minus_infinity ? power(x, middle) : 0;
        (sum >= 1 ? low : high) = middle;
    }
    double sum = 0;
    map_seen(s, [&](double x) { return power(x, low); });
    for (const double x : s) sum += x != minus_infinity ? x : 0;
    map_seen(s, [&](double x) { return x / sum; });
}

Naive entmax_definition(const EntmaxInputs& x, const EntmaxOptions& o) {
    const std::int64_t keys = x.kv.length(0);
    return NaiveWeighted{.score = naive_scores(x, naive_scale(o.scale, x.q.dim)),
                         .sees = naive_visibility(o.visibility, x.q.tokens, keys),
                         .weigh = [&](std::int64_t h, std::int64_t, Row& s) {
                             entmax_row(s, double{x.alpha.empty() ? o.alpha : x.alpha[static_cast<std::size_t>(h)]});
                         }}(x.q.heads, x.q.tokens, v_of(x.kv));
}

const auto& sparse = test_attention<&attenta::sparsemax, &sparsemax_definition>(
    {.name = "sparsemax",
     .variants = {{"dense", [](AttentionCase& c) { options_of<SparsemaxOptions>(c).scale = 0.01f; }},
                  {"large scores", [](AttentionCase& c) { options_of<SparsemaxOptions>(c).scale = 5.f; }},
                  {"scale 0", [](AttentionCase& c) { options_of<SparsemaxOptions>(c).scale = 0.f; }}},
     .more_queries_than_keys = false});

const auto& mechanism = test_attention<&attenta::entmax, &entmax_definition>(
    {.name = "entmax",
     .variants = {{"near softmax", [](AttentionCase& c) { options_of<EntmaxOptions>(c).alpha = 1.05f; }},
                  {"beyond sparsemax", [](AttentionCase& c) { options_of<EntmaxOptions>(c).alpha = 3.f; }},
                  {"per head",
                   [](AttentionCase& c) {
                       c.put("alpha", 1, 1, c.shape.Hq);
                       for (std::int64_t h = 0; h < c.shape.Hq; ++h)
                           c.view("alpha").data[h] = 1.2f + 0.05f * static_cast<float>(h);
                   }},
                  {"large scores", [](AttentionCase& c) { options_of<EntmaxOptions>(c).scale = 5.f; }}},
     .more_queries_than_keys = false});

TEST(Sparsemax, GivesThresholdsAndExactZeros) {
    AttentionCase c = attention_case(sparse, {3, 1, 20, 150, 16, 8});
    options_of<SparsemaxOptions>(c).visibility.causal = true;
    const auto x = inputs_of<SparsemaxInputs>(c);
    const auto& o = options_of<SparsemaxOptions>(c);
    on_every_isa([&](Context& context) {
        std::vector<float> tau(60);
        Output got = output_of(c);
        attenta::sparsemax(x, {{got.o.view()}, tau.data()}, o, context);
        for (std::int64_t h = 0; h < 3; ++h)
            for (std::int64_t i = 0; i < 20; ++i) {
                Row s;
                for (std::int64_t j = 0; j <= 130 + i; ++j) s.push_back(naive_scores(x, 0.25)(h, i, j));
                EXPECT_NEAR(tau[static_cast<std::size_t>(h * 20 + i)], project(s), 1e-5);
            }
    });
}

TEST(Entmax, GivesWeightsThatSumToOne) {
    for (const float alpha : {1.01f, 1.3f, 1.5f, 2.f, 2.5f, 6.f}) {
        AttentionCase c = attention_case(mechanism, {2, 1, 7, 300, 16, 8});
        options_of<EntmaxOptions>(c).alpha = alpha;
        options_of<EntmaxOptions>(c).visibility.causal = true;
        const auto x = inputs_of<EntmaxInputs>(c);
        on_every_isa([&](Context& context) {
            Output got = output_of(c);
            Tensor<float> weights(2, 7, 300, Order::token_head, 2);
            attenta::entmax(x, {{got.o.view()}, weights.view()}, options_of<EntmaxOptions>(c), context);
            EXPECT_TRUE(weights.padding_is_untouched());
            for (std::int64_t i = 0; i < 7; ++i) {
                Row s;
                for (std::int64_t j = 0; j <= 293 + i; ++j) s.push_back(naive_scores(x, 0.25)(1, i, j));
                entmax_row(s, double{alpha});
                double sum = 0;
                for (std::int64_t j = 0; j < 300; ++j) {
                    const double w = double{weights.row(1, i)[j]};
                    const double want = j < std::ssize(s) ? s[static_cast<std::size_t>(j)] : 0;
                    EXPECT_NEAR(w, want, 2e-6 + 2e-4 * want) << "alpha " << alpha << ", key " << j;
                    sum += w;
                }
                EXPECT_NEAR(sum, 1, 1e-5);
            }
        });
    }
}

TEST(Entmax, RefusesAlpha) {
    const auto refused = [](float option, float of_head, std::initializer_list<std::string_view> words) {
        AttentionCase c = attention_case(mechanism, {2, 1, 5, 40, 16, 8});
        options_of<EntmaxOptions>(c).alpha = option;
        if (of_head != 0) {
            c.put("alpha", 1, 1, 2);
            c.view("alpha").data[0] = 1.5f, c.view("alpha").data[1] = of_head;
        }
        Output got = output_of(c);
        Context context;
        const auto result = refuses([&] { call(c, got, context); }, words);
        const float fresh = untouched<float>();
        EXPECT_TRUE(same_bits(got.o.row(0, 0), &fresh, 1));
        return result;
    };
    EXPECT_TRUE(refused(1.f, 0, {"entmax", "alpha"}));
    EXPECT_TRUE(refused(std::numeric_limits<float>::quiet_NaN(), 0, {"entmax", "alpha"}));
    EXPECT_TRUE(refused(1.5f, 1.f, {"entmax", "alpha[1]"}));
    EXPECT_TRUE(refused(1.5f, std::numeric_limits<float>::infinity(), {"entmax", "alpha[1]"}));
}

TEST(Entmax, RefusesOutputsThatMeet) {
    AttentionCase c = attention_case(mechanism, {2, 1, 5, 8, 16, 8});
    const auto x = inputs_of<EntmaxInputs>(c);
    Output got = output_of(c);
    EXPECT_TRUE(refuses([&] { attenta::entmax(x, {{got.o.view()}, got.o.view()}, {}); }, {"weights", "o"}));
    Tensor<float> narrow(2, 5, 7);
    EXPECT_TRUE(refuses([&] { attenta::entmax(x, {{got.o.view()}, narrow.view()}, {}); }, {"weights"}));
    EXPECT_TRUE(refuses(
        [&] {
            attenta::sparsemax({x.q, x.kv}, {{got.o.view()}, const_cast<float*>(x.q.data)}, {});
        },
        {"tau", "q"}));
}

}  // namespace
}  // namespace attenta_test
