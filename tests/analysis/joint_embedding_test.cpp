// The joint embedding equals its definition, of points that nearly coincide and of points far away too; it leaves attention as it is; own
// errors.
#include <attenta/analysis/joint_embedding.hpp>

#include "analysis/support/attention.hpp"

namespace attenta_test {
namespace {

using analysis::JointEmbeddingInputs, analysis::JointEmbeddingOptions;
constexpr auto call = &analysis::joint_embedding;
using Row = std::vector<double>;
using Rows = std::vector<Row>;

Rows rows_of(const View& x, std::int64_t head) {
    Rows rows;
    for (std::int64_t t = 0; t < x.tokens; ++t) rows.emplace_back(x.row(head, t), x.row(head, t) + x.dim);
    return rows;
}

Row mean(const Rows& rows) {
    Row sum(rows.front().size());
    for (const Row& r : rows)
        for (std::size_t c = 0; c < sum.size(); ++c) sum[c] += r[c] / static_cast<double>(rows.size());
    return sum;
}

double product(const Row& a, const Row& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }

double mean_norm(const Rows& rows) {
    double sum = 0;
    for (const Row& r : rows) sum += std::sqrt(product(r, r)) / static_cast<double>(rows.size());
    return sum;
}

double pearson_of(const Row& x, const Row& y) {
    const auto n = static_cast<double>(x.size());
    const double x_mean = std::accumulate(x.begin(), x.end(), 0.0) / n,
                 y_mean = std::accumulate(y.begin(), y.end(), 0.0) / n;
    double xx = 0, yy = 0, xy = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        xx += (x[i] - x_mean) * (x[i] - x_mean);
        yy += (y[i] - y_mean) * (y[i] - y_mean);
        xy += (x[i] - x_mean) * (y[i] - y_mean);
    }
    return xx * yy > 0 ? xy / std::sqrt(xx * yy) : 0;
}

Values definition(const JointEmbeddingInputs& x, const JointEmbeddingOptions& o) {
    Values want;
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        Rows q = rows_of(x.q, h), k = rows_of(x.k, h / (x.q.heads / x.k.heads));
        const Row to = mean(q), from = mean(k);
        for (Row& r : k)
            for (std::size_t c = 0; o.center && c < r.size(); ++c) r[c] += to[c] - from[c];
        const double factor = o.factor ? *o.factor : std::sqrt(mean_norm(k) / mean_norm(q));
        Row products, distances;
        for (Row& r : q)
            for (double& e : r) want["embed_q"].push_back(e *= factor);
        for (Row& r : k)
            for (double& e : r) want["embed_k"].push_back(e /= factor);
        for (const Row& a : q)
            for (const Row& b : k) {
                double squares = 0;
                for (std::size_t c = 0; c < a.size(); ++c) squares += (a[c] - b[c]) * (a[c] - b[c]);
                products.push_back(product(a, b));
                distances.push_back(std::sqrt(squares));
            }
        want["factor"].push_back(factor);
        want["correlation"].push_back(pearson_of(products, distances));
    }
    return want;
}

TEST(JointEmbedding, EqualsItsDefinition) {
    Memory memory;
    for (const auto& [heads, kv_heads, queries, keys, dim] : {std::array<std::int64_t, 5>{1, 1, 1, 1, 2},
                                                              {2, 1, 3, 2, 1},
                                                              {4, 2, 1, 29, 8},
                                                              {3, 3, 5, 1, 12},
                                                              {2, 1, 23, 37, 9},
                                                              {1, 1, 70, 131, 20}})
        for (const bool center : {true, false})
            for (const std::optional<double> factor : {std::optional<double>(), std::optional(1.7)}) {
                const JointEmbeddingInputs x{memory.heads(heads, queries, dim, 3), memory.heads(kv_heads, keys, dim)};
                expect_values<call>(x, {center, factor}, definition(x, {center, factor}));
            }
}

/// A caller who searches the factor goes far: products stay as they are, whatever the sizes of the sides.
TEST(JointEmbedding, KeepsTheDigitsOfAnyFactor) {
    Memory memory;
    const JointEmbeddingInputs x{memory.heads(2, 9, 6), memory.heads(1, 15, 6)};
    for (const double factor : {1e-20, 1e-3, 0.02, 30.0, 1e20})
        for (const bool center : {true, false})
            expect_values<call>(x, {center, factor}, definition(x, {center, factor}));
}

/// Keys are the queries, some moved by a little: their distances are far below what differences of squares hold.
TEST(JointEmbedding, KeepsTheDigitsOfNearPairs) {
    Memory memory;
    for (const std::int64_t tokens : {2, 3, 19}) {
        const View q = memory.heads(1, tokens, 6), k = memory.heads(1, tokens, 6);
        for (std::int64_t t = 0; t < tokens; ++t)
            for (std::int64_t c = 0; c < 6; ++c)
                const_cast<float&>(k.row(0, t)[c]) = q.row(0, t)[c] + (t % 2 == 0 ? 0.f : 1e-3f * k.row(0, t)[c]);
        const JointEmbeddingInputs x{q, k};
        expect_values<call>(x, {true, 1.0}, definition(x, {true, 1.0}), {.absolute = 1e-5, .relative = 1e-5});
    }
}

/// A cloud that lies a thousand times farther from 0, or from the queries, than it is wide; numbers whose squares are no floats.
TEST(JointEmbedding, KeepsTheDigitsOfFarClouds) {
    Memory memory;
    for (const float far_q : {0.f, 1000.f})
        for (const float size : {1.f, 1e-25f, 1e25f}) {
            const View q = memory.heads(1, 17, 4), k = memory.heads(1, 23, 4);
            for (const auto& [x, far] : {std::pair(q, far_q), std::pair(k, 1000.f)})
                for (std::int64_t t = 0; t < x.tokens; ++t)
                    for (std::int64_t c = 0; c < 4; ++c)
                        const_cast<float&>(x.row(0, t)[c]) = size * (x.row(0, t)[c] + far);
            for (const bool center : {true, false}) {
                const JointEmbeddingInputs x{q, k};
                Values want = definition(x, {center, 1.5});
                Outputs<call> out(x, {center, 1.5});
                analysis::joint_embedding(x, out.list, {center, 1.5});
                EXPECT_TRUE(close(out.values(), {{"correlation", want.at("correlation")}},
                                  {.absolute = 2e-4, .relative = 2e-4}));
            }
        }
}

TEST(JointEmbedding, OfEqualKeysIsNotCorrelated) {
    Memory memory;
    JointEmbeddingInputs x{memory.heads(2, 5, 3), memory.heads(1, 7, 3)};
    x.k.token_stride = 0;
    for (const bool center : {true, false}) {
        Outputs<call> out(x, {center});
        analysis::joint_embedding(x, out.list, {center});
        const Values got = out.values();
        for (const double c : got.at("correlation")) EXPECT_TRUE(std::abs(c) <= 1 + 1e-6) << c;
    }
    x.q.token_stride = 0;
    expect_values<call>(x, {}, definition(x, {}));
}

TEST(JointEmbedding, LeavesTheWeightsAsTheyAre) {
    Memory memory;
    const JointEmbeddingInputs x{memory.heads(4, 9, 8), memory.heads(2, 13, 8)};
    Outputs<call> out(x, {});
    analysis::joint_embedding(x, out.list);
    const View q = attenta::hnd<const float>(out.list.embed_q, 4, 9, 8),
               k = attenta::hnd<const float>(out.list.embed_k, 4, 13, 8);
    for (std::int64_t h = 0; h < 4; ++h)
        for (std::int64_t i = 0; i < 9; ++i) {
            const NaiveRow before = naive_row(x.q, x.k, h, i, false, {}), after = naive_row(q, k, h, i, false, {});
            for (std::size_t j = 0; j < 13; ++j) EXPECT_NEAR(before.weights[j], after.weights[j], 1e-5);
        }
}

TEST(JointEmbeddingErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const JointEmbeddingInputs x{memory.heads(4, 5, 3), memory.heads(2, 7, 3)};
    expect_bad_tensors_refused<call>(x, {});
    for (const double factor : {0.0, -1.0, 1e-60, 1e60, std::nan(""), std::numeric_limits<double>::infinity()})
        EXPECT_TRUE(refuses_options<call>(x, {}, [=](auto& o) { o.factor = factor; }, {"joint_embedding", "factor"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.q.heads = 3; }, {"q", "3", "2"}));
    const View zeros = memory.heads(4, 5, 3, 0), no_keys = memory.heads(2, 7, 3, 0);
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [&](auto& in) { in.q = zeros; }, {"q", "head 0"}));
    EXPECT_TRUE(refuses_inputs<call>(x, {false}, [&](auto& in) { in.k = no_keys; }, {"k", "head 0", "factor"}));
    std::vector<float> wrong(15, 1.f);
    wrong[4] = std::nanf("");
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [&](auto& in) { in.k = attenta::hnd<const float>(wrong.data(), 1, 5, 3); },
                                     {"k", "nan"}));
}

}  // namespace
}  // namespace attenta_test
