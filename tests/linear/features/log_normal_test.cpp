// Linear log-normal attention equals its definition; its gains; its own errors.
#include <attenta/linear/features/log_normal.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "linear/support/compare.hpp"
#include "linear/support/naive_features.hpp"

namespace attenta_test {
namespace {

using attenta::LogNormalDiag;
using Options = attenta::LogNormalOptions;
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

/// Unbiased, of the numbers that are finite.
double naive_variance(View x) {
    std::vector<double> numbers;
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t)
            for (const double e : naive_row(x, h, x.heads, t))
                if (std::isfinite(e)) numbers.push_back(e);
    const auto n = static_cast<double>(numbers.size());
    double mean = 0, squares = 0;
    for (const double e : numbers) mean += e / n;
    for (const double e : numbers) squares += (e - mean) * (e - mean);
    return squares / (n - 1);
}

std::pair<double, double> naive_gains(View q, View k, const Options& o) {
    if (o.alpha) return {double{*o.alpha}, double{*o.beta}};
    const double of_q = naive_variance(q), of_k = naive_variance(k),
                 sigma = std::sqrt((of_q * of_k - double{o.moment_b}) / (2 * double{o.moment_a}));
    return {sigma / std::sqrt(of_q), sigma / std::sqrt(of_k)};
}

/// Softmax attention of query t within its block.
Row naive_block(View q, View k, View v, const Options& o, std::int64_t head, std::int64_t t) {
    const std::int64_t block = o.block_size.value_or(k.dim), i = t + (o.causal ? k.tokens - q.tokens : 0),
                       begin = i / block * block, end = o.causal ? i + 1 : std::min(begin + block, k.tokens);
    const Row query = naive_row(q, head, q.heads, t);
    Row scores, y(static_cast<std::size_t>(v.dim));
    for (std::int64_t j = begin; j < end; ++j)
        scores.push_back(naive_dot(query.data(), naive_row(k, head, q.heads, j)) /
                         std::sqrt(static_cast<double>(k.dim)));
    const double top = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (double& s : scores) sum += s = std::exp(s - top);
    for (std::int64_t j = begin; j < end; ++j)
        for (std::int64_t e = 0; e < v.dim; ++e)
            y.data()[e] += scores.data()[j - begin] / sum * naive_row(v, head, q.heads, j).data()[e];
    return y;
}

double naive_mix(const attenta::LogNormalInputs& in, LogNormalDiag kind, double lln, double diag, std::int64_t h,
                 std::int64_t e) {
    const double r = in.diag_r.data ? double{in.diag_r.row(h, 0)[e]} : 0,
                 p = in.diag_p.data ? double{in.diag_p.row(h, 0)[e]} : 0;
    switch (kind) {
        case LogNormalDiag::none:
            return lln;
        case LogNormalDiag::average:
            return (lln + diag) / 2;
        case LogNormalDiag::learnable_scale:
            return r * lln + p * diag;
        case LogNormalDiag::learnable_ratio:
            return r * lln + (1 - r) * diag;
    }
    return 0;
}

//   φ(q) = exp(alpha q − max),  φ(k) = exp(beta k − K),  lln_i = Σ_j φ(q_i)·φ(k_j) v_j / (Σ_j φ(q_i)·φ(k_j) + eps)
//   o = lln,  (lln + diag)/2,  r lln + p diag  or  r lln + (1 − r) diag
NaiveLinear naive_log_normal(const attenta::LogNormalInputs& in, const Options& x, const LinearState& past) {
    const View &q = in.q, &k = in.k, &v = in.v;
    const auto [alpha, beta] = naive_gains(q, k, x);
    std::vector<double> top(in.key_max.begin(), in.key_max.end());
    if (top.empty()) top.assign(past.key_max.begin(), past.key_max.end());
    for (std::int64_t h = 0; top.size() < static_cast<std::size_t>(k.heads); ++h) {
        double largest = -std::numeric_limits<double>::infinity();
        for (std::int64_t j = 0; j < k.tokens; ++j)
            for (const double e : naive_row(k, h, k.heads, j))
                if (std::isfinite(e)) largest = std::max(largest, beta * e);
        top.push_back(std::isfinite(largest) ? largest : 0);
    }
    NaiveLinear r = naive_feature_attention(
        q, k, v, k.dim, x.causal, past,
        [&, alpha = alpha](std::int64_t h, std::int64_t i) {
            Row row = naive_row(q, h, q.heads, i);
            for (double& e : row) e *= alpha;
            const double largest = *std::max_element(row.begin(), row.end());
            for (double& e : row) e = std::exp(e - largest);
            return row;
        },
        [&, beta = beta](std::int64_t h, std::int64_t j) {
            Row row = naive_row(k, h, k.heads, j);
            for (double& e : row) e = std::exp(beta * e - top.data()[h]);
            return row;
        },
        [&](Row& num, double den) {
            for (double& e : num) e /= den + double{x.eps};
        });
    r.key_max = top;
    if (x.diag == LogNormalDiag::none) return r;
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            const Row diag = naive_block(q, k, v, x, h, t);
            for (std::int64_t e = 0; e < v.dim; ++e)
                r.o_row(h, t)[e] = naive_mix(in, x.diag, r.o_row(h, t)[e], diag.data()[e], h, e);
        }
    return r;
}

void put_key_max(LinearCase& c) {
    std::vector<float> key_max = c.random.normals(c.shape.Hk);
    for (float& x : key_max) x = 2 + 0.5f * x;
    c.put_array("key_max", 1, c.shape.Hk, key_max);
}
void fill(LinearCase& c) {
    Options& o = options_of<Options>(c);
    o.causal = true, o.alpha = 0.9f, o.beta = 1.1f, o.diag = LogNormalDiag::none;
    put_key_max(c);
}
template <LogNormalDiag diag, bool causal>
void set_diag(LinearCase& c) {
    options_of<Options>(c).diag = diag, options_of<Options>(c).causal = causal;
    if (!causal) options_of<Options>(c).block_size = 5;
    if (diag == LogNormalDiag::average) return;
    c.put_normal("diag_r", Along::nothing, c.shape.Hq, c.shape.Dv);
    if (diag == LogNormalDiag::learnable_scale) c.put_normal("diag_p", Along::nothing, c.shape.Hq, c.shape.Dv);
}
/// Gains of the call, where it has enough numbers.
void measure(LinearCase& c) {
    c.inputs.erase("key_max");
    Options& o = options_of<Options>(c);
    const std::int64_t row = c.shape.T * c.shape.D;
    if (row * c.shape.Hq > 1 && row * c.shape.Hk > 1) o.alpha.reset(), o.beta.reset();
}

bool has_gains(const LinearCase& c) { return options_of<Options>(c).alpha.has_value(); }

const LinearMechanism& log_normal = test_linear<&attenta::log_normal, naive_log_normal>(
    {.name = "log_normal",
     .variants = {{"measured", measure},
                  {"measured, not causal", [](LinearCase& c) { measure(c), options_of<Options>(c).causal = false; }},
                  {"not causal", [](LinearCase& c) { options_of<Options>(c).causal = false; }},
                  {"no key_max", [](LinearCase& c) { c.inputs.erase("key_max"); }},
                  {"average", set_diag<LogNormalDiag::average, true>},
                  {"average, not causal", set_diag<LogNormalDiag::average, false>},
                  {"learnable_scale", set_diag<LogNormalDiag::learnable_scale, true>},
                  {"learnable_ratio, not causal", set_diag<LogNormalDiag::learnable_ratio, false>},
                  {"large numbers, negative gain",
                   [](LinearCase& c) {
                       c.inputs.erase("key_max");
                       options_of<Options>(c).beta = -1.2f;
                       for (const char* name : {"q", "k"}) change(c, name, [](float x) { return 4 * x; });
                   }},
                  {"average with history",
                   [](LinearCase& c) {
                       set_diag<LogNormalDiag::average, true>(c);
                       set_queries(c, std::max<std::int64_t>(c.shape.T / 3, 1));
                   }},
                  {"more queries than keys, eps 0.1",
                   [](LinearCase& c) {
                       options_of<Options>(c).causal = false, options_of<Options>(c).eps = 0.1f;
                       set_queries(c, c.shape.T + 5);
                   }}},
     .fill = fill,
     .has_history = true,
     .can_be_cut =
         [](const LinearCase& c) {
             const Options& o = options_of<Options>(c);
             return o.causal && has_gains(c) && o.diag == LogNormalDiag::none &&
                    (!c.past.empty() || c.views()["key_max"].data);
         },
     .rows_alone = has_gains,
     .heads_alone = has_gains,
     .allocates = [](const LinearCase& c) { return options_of<Options>(c).diag != LogNormalDiag::none; }});

/// Measured once, then given: the same call.
TEST(LogNormal, GainsThatWereMeasuredMayBeGiven) {
    LinearCase c = linear_case(log_normal, {4, 2, 2, 40, 12, 9}, Gates::mild, 1);
    const LinearViews x = c.views();
    const attenta::LogNormalGains gains = attenta::log_normal_gains(x["q"], x["k"], options_of<Options>(c));
    const auto [alpha, beta] = naive_gains(x["q"], x["k"], options_of<Options>(c));
    EXPECT_NEAR(gains.alpha, alpha, 1e-5);
    EXPECT_NEAR(gains.beta, beta, 1e-5);
    LinearCase given = c.copy();
    options_of<Options>(given).alpha = gains.alpha, options_of<Options>(given).beta = gains.beta;
    on_every_isa([&](Context& context) { EXPECT_TRUE(equal_bits(attend(given, context), attend(c, context))); });
}

TEST(LogNormalErrors, HeadsAndWidths) { expect_feature_errors(log_normal); }

TEST(LogNormalErrors, GainsAndDiag) {
    const OwnErrors errors(log_normal);
    const auto measured = [](Call& c) { c.options<Options>().alpha.reset(), c.options<Options>().beta.reset(); };
    EXPECT_TRUE(errors.refused({"alpha"}, [](Call& c) { c.options<Options>().alpha.reset(); }));
    EXPECT_TRUE(errors.refused({"beta"}, [](Call& c) { c.options<Options>().beta.reset(); }));
    EXPECT_TRUE(errors.refused({"alpha", "nan"}, [](Call& c) { c.options<Options>().alpha = nan; }));
    EXPECT_TRUE(errors.refused({"eps"}, [](Call& c) { c.options<Options>().eps = -1; }));
    EXPECT_TRUE(errors.refused({"moment_a", "0"}, [](Call& c) { c.options<Options>().moment_a = 0; }));
    EXPECT_TRUE(errors.refused({"block_size", "0"}, [](Call& c) { c.options<Options>().block_size = 0; }));
    EXPECT_TRUE(errors.refused({"k", "variance 0"}, [&](Call& c) {
        measured(c);
        change(c.c, "k", [](float) { return 3.0f; });
    }));
    EXPECT_TRUE(errors.refused({"moment_b"}, [&](Call& c) { measured(c), c.options<Options>().moment_b = 1e6f; }));
    EXPECT_TRUE(
        errors.refused({"diag_r"}, [](Call& c) { c.options<Options>().diag = LogNormalDiag::learnable_ratio; }));
    EXPECT_TRUE(errors.refused(
        {"diag_p"}, [](Call& c) { c.x.at("diag_p").data = nullptr; }, 7));
    EXPECT_TRUE(errors.refused(
        {"q", "5", "6"}, [](Call& c) { c.x.at("q").tokens = c.o.tokens = 5; }, 6));
    EXPECT_TRUE(errors.refused({"key_max", "1", "2"}, [](Call& c) { c.x.at("key_max").dim = 1; }));
}

}  // namespace
}  // namespace attenta_test
