// Fastmax equals its definition; its denominators; its own errors.
#include <attenta/linear/features/fastmax.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "linear/support/compare.hpp"
#include "linear/support/naive_features.hpp"
#include "linear/support/naive_products.hpp"

namespace attenta_test {
namespace {

using attenta::FastmaxNormalize;
using Options = attenta::FastmaxOptions;

/// x̃ of all tokens of a head. Tokens that are not finite do not count for the longest.
std::vector<Row> naive_normalised(View x, std::int64_t head, const Options& o) {
    std::vector<Row> rows;
    for (std::int64_t t = 0; t < x.tokens; ++t) rows.push_back(naive_row(x, head, x.heads, t));
    const auto D = static_cast<double>(x.dim), T = static_cast<double>(x.tokens);
    Row center(static_cast<std::size_t>(x.dim));
    for (const Row& row : rows)
        for (std::size_t d = 0; d < row.size(); ++d) center[d] += row[d] / T;
    double longest = -1;
    for (Row& row : rows) {
        double mean = 0, squares = 0;
        for (const double e : row) mean += e / D;
        const bool own =
            o.normalize == FastmaxNormalize::center_features || o.normalize == FastmaxNormalize::standardize;
        for (std::size_t d = 0; d < row.size(); ++d)
            row[d] -= own ? mean : o.normalize == FastmaxNormalize::center_tokens ? center[d] : 0;
        for (const double e : row) squares += e * e;
        if (std::isfinite(squares)) longest = std::max(longest, std::sqrt(squares));
        if (o.normalize == FastmaxNormalize::standardize)
            for (double& e : row) e /= std::sqrt(squares / D);
    }
    if (o.normalize == FastmaxNormalize::none || o.normalize == FastmaxNormalize::standardize) return rows;
    for (Row& row : rows)
        for (double& e : row) e *= double{o.radius} / (longest < 0 ? 1 : longest);
    return rows;
}

//   x_ij = scale · q̃_i·k̃_j,   f(x) = Σ_{l<=degree} c_l x^l,   o_i = Σ_j f(x_ij) v_j / Σ_j f(x_ij)
NaiveLinear naive_fastmax(const attenta::FastmaxInputs& in, const Options& x, const LinearState& past) {
    const auto& [q, k, v] = in;
    std::vector<std::vector<Row>> queries, keys;
    for (std::int64_t h = 0; h < q.heads; ++h) queries.push_back(naive_normalised(q, h, x));
    for (std::int64_t h = 0; h < k.heads; ++h) keys.push_back(naive_normalised(k, h, x));
    for (std::vector<Row>& head : queries)
        for (Row& row : head)
            for (double& e : row) e *= double{x.scale};
    const std::int64_t D = k.dim, F = 1 + D + (x.degree == 2 ? D * (D + 1) / 2 : 0);
    const auto at = [](const std::vector<std::vector<Row>>& rows) {
        return [&](std::int64_t h, std::int64_t t) {
            return rows[static_cast<std::size_t>(h)][static_cast<std::size_t>(t)];
        };
    };
    return naive_polynomial_attention(naive_start(q.heads, q.tokens, k.heads, F, v.dim, past), k, v, x.causal, x.degree,
                                      {double{x.coefficients[0]}, double{x.coefficients[1]}, double{x.coefficients[2]}},
                                      past, at(queries), at(keys), [](Row& num, double den) {
                                          for (double& e : num) e /= den;
                                      });
}

template <FastmaxNormalize normalize, bool causal = true>
void set(LinearCase& c) {
    options_of<Options>(c).normalize = normalize, options_of<Options>(c).causal = causal;
    options_of<Options>(c).scale = normalize == FastmaxNormalize::standardize ? 0.2f : 1;
    // Of one feature nothing is left beside its mean.
    if (normalize != FastmaxNormalize::max_norm && c.shape.D == 1)
        options_of<Options>(c).normalize = FastmaxNormalize::none;
}
void set_center_tokens(LinearCase& c) {
    set<FastmaxNormalize::center_tokens>(c);
    if (c.shape.T == 1) options_of<Options>(c).normalize = FastmaxNormalize::none;
    c.shape.Tq = c.shape.T;  // parts of the sequence may be single tokens
}

bool measures_tokens(const LinearCase& c) {
    const FastmaxNormalize n = options_of<Options>(c).normalize;
    return n != FastmaxNormalize::none && n != FastmaxNormalize::standardize;
}

/// One token alone has no center.
LinearState past(const LinearCase& c) {
    LinearCase first = c.copy();
    if (options_of<Options>(first).normalize == FastmaxNormalize::center_tokens)
        options_of<Options>(first).normalize = FastmaxNormalize::max_norm;
    return state_of_first_token(first);
}

const LinearMechanism& fastmax = test_linear<&attenta::fastmax, naive_fastmax>(
    {.name = "fastmax",
     .variants = {{"not causal", [](LinearCase& c) { options_of<Options>(c).causal = false; }},
                  {"standardize causal", set<FastmaxNormalize::standardize>},
                  {"max_norm causal", set<FastmaxNormalize::max_norm>},
                  {"center_features", set<FastmaxNormalize::center_features, false>},
                  {"center_tokens", set_center_tokens},
                  {"degree 1",
                   [](LinearCase& c) {
                       set<FastmaxNormalize::max_norm>(c);
                       options_of<Options>(c).degree = 1, options_of<Options>(c).scale = 0.9f;
                   }},
                  {"radius and coefficients",
                   [](LinearCase& c) {
                       set<FastmaxNormalize::max_norm, false>(c);
                       options_of<Options>(c).radius = 3, options_of<Options>(c).coefficients = {2, 0.5f, 1};
                   }},
                  {"causal with history",
                   [](LinearCase& c) { set_queries(c, std::max<std::int64_t>(c.shape.T / 3, 1)); }},
                  {"more queries than keys",
                   [](LinearCase& c) {
                       options_of<Options>(c).causal = false;
                       set_queries(c, c.shape.T + 5);
                   }}},
     .fill =
         [](LinearCase& c) {
             options_of<Options>(c).causal = true, options_of<Options>(c).scale = 0.3f;
             options_of<Options>(c).normalize = FastmaxNormalize::none;
         },
     .has_history = true,
     // standardize refuses the tokens of equal numbers that the suite of cuts draws; it is cut below.
     .can_be_cut =
         [](const LinearCase& c) {
             return options_of<Options>(c).normalize == FastmaxNormalize::none && options_of<Options>(c).causal;
         },
     .rows_alone = [](const LinearCase& c) { return !measures_tokens(c); },
     .past = past,
     .most_dim = 48});

TEST(Fastmax, StandardizedSequencesMayBeCut) {
    const LinearCase c = linear_case(fastmax, {4, 2, 2, 90, 12, 9}, Gates::mild, 2);
    on_every_isa([&](Context& context) {
        const LinearOutput whole = attend(c, context);
        for (const std::int64_t cut : {1, 5, 64, 89}) {
            LinearOutput first = attend(c, 0, cut, {}, context),
                         second = attend(c, cut, 90 - cut, std::move(first.state), context);
            for (std::int64_t h = 0; h < 4; ++h)
                for (std::int64_t t = 0; t < 90; ++t)
                    for (std::int64_t e = 0; e < 9; ++e)
                        EXPECT_NEAR((t < cut ? first.o.row(h, t) : second.o.row(h, t - cut))[e], whole.o.row(h, t)[e],
                                    1e-5);
            EXPECT_LE(distance(second.state, whole.state), 1e-5);
        }
    });
}

/// A call that is asked for its denominators is the same call.
TEST(Fastmax, GivesItsDenominators) {
    for (const std::size_t variant : {0, 4, 6, 8, 9})
        for (const std::int64_t T : {1, 40}) {
            const LinearCase c = linear_case(fastmax, {4, 2, 2, T, 12, 9}, Gates::mild, variant, true);
            on_every_isa([&](Context& context) {
                std::vector<float> norm(static_cast<std::size_t>(4 * c.queries()));
                const LinearOutput plain = attend(c, context);
                LinearCase asked = c.copy();
                options_of<Options>(asked).norm = norm.data();
                const LinearOutput got = attend(asked, context);
                EXPECT_LE(distance(rows_of(got.o), rows_of(plain.o)), 1e-5) << describe(c);
                EXPECT_LE(distance(got.state, plain.state), 1e-6) << describe(c);
                for (const float n : norm) EXPECT_GT(n, 0) << describe(c);
            });
        }
}

/// f = 1/2 + (x + 1)²/2 of x = scale q·k, by hand.
TEST(Fastmax, DenominatorsAreSumsOfThePolynomial) {
    const float q[] = {1, 2}, k[] = {3, -1, 0.5f, 0}, v[] = {1, 2};
    float o = 0, norm = 0;
    LinearState state;
    attenta::fastmax({attenta::hnd(q, 1, 1, 2), attenta::hnd(k, 1, 2, 2), attenta::hnd(v, 1, 2, 1)},
                     attenta::hnd(&o, 1, 1, 1), state, {.normalize = FastmaxNormalize::none, .norm = &norm});
    const float first = 1 + 1 + 0.5f, second = 1 + 0.5f + 0.125f;
    EXPECT_NEAR(norm, first + second, 1e-6f);
    EXPECT_NEAR(o, (first + 2 * second) / (first + second), 1e-6f);
}

TEST(FastmaxErrors, HeadsAndWidths) { expect_feature_errors(fastmax); }

TEST(FastmaxErrors, OptionsAndTokensWithoutANorm) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const OwnErrors errors(fastmax);
    EXPECT_TRUE(errors.refused({"degree", "3"}, [](Call& c) { c.options<Options>().degree = 3; }));
    EXPECT_TRUE(errors.refused({"degree", "0"}, [](Call& c) { c.options<Options>().degree = 0; }));
    EXPECT_TRUE(errors.refused({"radius", "0"}, [](Call& c) { c.options<Options>().radius = 0; }));
    EXPECT_TRUE(errors.refused({"coefficients"}, [nan](Call& c) { c.options<Options>().coefficients[2] = nan; }));
    EXPECT_TRUE(errors.refused({"norm", "o"}, [](Call& c) { c.options<Options>().norm = c.o.data; }));
    const auto make_equal = [](FastmaxNormalize normalize, float number) {
        return [=](Call& c) {
            c.options<Options>().normalize = normalize;
            change(c.c, "k", [=](float) { return number; });
        };
    };
    EXPECT_TRUE(errors.refused({"k", "0"}, make_equal(FastmaxNormalize::max_norm, 0)));
    EXPECT_TRUE(errors.refused({"k", "0"}, make_equal(FastmaxNormalize::center_features, 2)));
    EXPECT_TRUE(errors.refused({"k", "0"}, make_equal(FastmaxNormalize::center_tokens, 2)));
    EXPECT_TRUE(errors.refused({"k", "token 0"}, make_equal(FastmaxNormalize::standardize, 2)));
}

}  // namespace
}  // namespace attenta_test
