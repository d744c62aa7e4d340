#include <attenta/kv/token_pooling.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <tuple>

#include "kv/support/policy.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::KvCache, attenta::PooledLayer, attenta::PooledLayerOptions, attenta::PooledTokens,
    attenta::PoolingDistance, attenta::TokenPoolingOptions;

using Clusters = std::vector<Positions>;

/// d_ab = 1 − cos(x_a, x_b), or the Euclidean distances of the rows of that.
std::vector<std::vector<double>> distances(const std::vector<std::vector<double>>& x, PoolingDistance how) {
    std::vector<std::vector<double>> d(x.size(), std::vector<double>(x.size())), rows = d;
    const auto dot = [](const auto& a, const auto& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.); };
    for (std::size_t a = 0; a < x.size(); ++a)
        for (std::size_t b = 0; b < x.size(); ++b)
            d[a][b] = a == b ? 0 : 1 - dot(x[a], x[b]) / std::sqrt(dot(x[a], x[a]) * dot(x[b], x[b]));
    for (std::size_t a = 0; a < x.size(); ++a)
        for (std::size_t b = 0; b < x.size(); ++b)
            for (std::size_t c = 0; c < x.size(); ++c) rows[a][b] += (d[a][c] - d[b][c]) * (d[a][c] - d[b][c]);
    for (auto& row : rows)
        for (double& e : row) e = std::sqrt(e);
    return how == PoolingDistance::cosine ? d : rows;
}

/// Merges the closest pair until `count` clusters are left.
Clusters ward(std::vector<std::vector<double>> d, std::int64_t count, const NaiveCache& c) {
    Clusters clusters;
    for (std::int64_t i = 0; i < std::ssize(d); ++i) clusters.push_back({i});
    const auto size = [&](std::size_t a) { return static_cast<double>(clusters[a].size()); };
    for (auto left = std::ssize(d); left > count; --left) {
        std::vector<std::tuple<double, std::size_t, std::size_t>> pairs;
        for (std::size_t a = 0; a < d.size(); ++a)
            for (std::size_t b = a + 1; b < d.size(); ++b)
                if (!clusters[a].empty() && !clusters[b].empty()) pairs.emplace_back(d[a][b], a, b);
        std::partial_sort(pairs.begin(), pairs.begin() + std::min<std::ptrdiff_t>(2, std::ssize(pairs)), pairs.end());
        if (pairs.size() > 1) c.note(std::get<0>(pairs[0]), std::get<0>(pairs[1]));
        const auto [best, a, b] = pairs[0];
        for (std::size_t m = 0; m < d.size(); ++m)
            if (m != a && m != b && !clusters[m].empty())
                d[a][m] = d[m][a] = std::sqrt(((size(a) + size(m)) * d[a][m] * d[a][m] +
                                               (size(b) + size(m)) * d[b][m] * d[b][m] - size(m) * best * best) /
                                              (size(a) + size(b) + size(m)));
        clusters[a].insert(clusters[a].end(), clusters[b].begin(), clusters[b].end());
        clusters[b].clear();
    }
    std::erase(clusters, Positions{});
    for (Positions& p : clusters) std::sort(p.begin(), p.end());
    std::sort(clusters.begin(), clusters.end());
    return clusters;
}

/// Of the keys of the prompt of a head, the first and last ones alone.
Clusters clusters_of(const NaiveCache& c, std::int64_t g, const TokenPoolingOptions& o, std::int64_t recent) {
    const std::int64_t P = c.prompt(), first = std::min(o.protected_tokens, P), last = std::max(first, P - recent),
                       n = last - first;
    Clusters all;
    for (std::int64_t t = 0; t < first; ++t) all.push_back({t});
    if (n > 0) {
        std::vector<std::vector<double>> x;
        for (std::int64_t t = first; t < last; ++t) x.emplace_back(c.key(t, g), c.key(t, g) + c.x.sizes.D);
        for (Positions p : ward(distances(x, o.distance), std::max<std::int64_t>(n / o.pool_factor, 1), c)) {
            for (std::int64_t& t : p) t += first;
            all.push_back(p);
        }
    }
    for (std::int64_t t = last; t < P; ++t) all.push_back({t});
    return all;
}

std::vector<std::int64_t> labels_of(const Clusters& clusters, std::int64_t n) {
    std::vector<std::int64_t> labels(NaiveCache::u(n));
    for (std::int64_t m = 0; m < std::ssize(clusters); ++m)
        for (const std::int64_t t : clusters[NaiveCache::u(m)]) labels[NaiveCache::u(t)] = m;
    return labels;
}

template <class Row>
std::vector<double> mean(const Positions& of, std::int64_t dim, Row&& row) {
    std::vector<double> sum(NaiveCache::u(dim));
    for (const std::int64_t t : of)
        for (std::int64_t i = 0; i < dim; ++i)
            sum[NaiveCache::u(i)] += double{row(t)[i]} / static_cast<double>(of.size());
    return sum;
}

/// Sizes without near ties, and their clusters by head.
struct PoolingCase {
    EvictionCase x;
    std::vector<Clusters> clusters;

    PoolingCase(const EvictionSizes& sizes, std::uint64_t seed, const TokenPoolingOptions& o, std::int64_t recent)
        : x(sizes, seed) {
        NaiveCache c(x);
        for (std::int64_t g = 0; g < sizes.Hkv; ++g) clusters.push_back(clusters_of(c, g, o, recent));
        gap = c.gap;
    }
    double gap = 1;
};

std::optional<PoolingCase> clear_case(const EvictionSizes& sizes, const TokenPoolingOptions& o, std::int64_t recent) {
    for (std::uint64_t seed = 1; seed < 200; ++seed)
        if (PoolingCase c(sizes, seed, o, recent); c.gap >= 1) return c;
    return {};
}

const TokenPoolingOptions options[] = {{},
                                       {.pool_factor = 3, .protected_tokens = 0, .distance = PoolingDistance::rows},
                                       {.pool_factor = 1, .protected_tokens = 2},
                                       {.pool_factor = 100, .protected_tokens = 4},
                                       {.pool_factor = 4, .protected_tokens = 1, .distance = PoolingDistance::rows}};

TEST(TokenPooling, DocumentsAreTheMeansOfTheirClusters) {
    for (const TokenPoolingOptions& o : options)
        for (const std::int64_t N : {1, 2, 3, 13, 31, 47})
            for (const std::int64_t D : {3, 17, 40}) {
                SCOPED_TRACE(testing::Message() << N << " vectors of " << D << ", factor " << o.pool_factor);
                const auto c = clear_case({N, N, 1, 1, D, 1}, o, 0);
                ASSERT_TRUE(c) << "no case without near ties";
                const PooledTokens got = attenta::token_pooling({c->x.k.data(), 1, N, D}, o);
                EXPECT_EQ(got.labels, labels_of(c->clusters[0], N));
                ASSERT_EQ(std::ssize(got.pooled), std::ssize(c->clusters[0]) * D);
                auto p = got.pooled.begin();
                for (const Positions& cluster : c->clusters[0])
                    for (const double e : mean(cluster, D, [&](std::int64_t t) { return c->x.keys().row(0, t); }))
                        EXPECT_NEAR(*p++, e, 1e-6 * (1 + std::abs(e)));
            }
}

TEST(TokenPooling, ReadsRowsWithGaps) {
    Random random(3);
    const std::vector<float> wide = random.normals(20 * 9);
    std::vector<float> dense;
    for (std::ptrdiff_t t = 0; t < 20; ++t) dense.insert(dense.end(), wide.begin() + t * 9, wide.begin() + t * 9 + 6);
    const PooledTokens a = attenta::token_pooling({wide.data(), 1, 20, 6, 9}),
                       b = attenta::token_pooling({dense.data(), 1, 20, 6});
    EXPECT_EQ(a.labels, b.labels);
    EXPECT_EQ(a.pooled, b.pooled);
}

/// Vectors that are the same, whatever their length, are merged first.
TEST(TokenPooling, JoinsDuplicates) {
    Random random(5);
    std::vector<float> x = random.normals(12 * 8);
    for (std::size_t t = 0; t < 12; ++t)
        for (std::size_t c = 0; c < 8; ++c) x[t * 8 + c] = static_cast<float>(1 + t) * x[t % 4 * 8 + c];
    for (const auto distance : {PoolingDistance::cosine, PoolingDistance::rows}) {
        const PooledTokens got = attenta::token_pooling(
            {x.data(), 1, 12, 8}, {.pool_factor = 3, .protected_tokens = 0, .distance = distance});
        EXPECT_EQ(got.labels, (std::vector<std::int64_t>{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3}));
    }
}

/// Softmax over entries and later tokens, with + ln c for an entry of c tokens.
std::vector<double> naive_decode(const PoolingCase& c, bool count_bias) {
    const EvictionSizes& s = c.x.sizes;
    std::vector<double> o;
    for (std::int64_t i = s.prompt; i < s.T; ++i)
        for (std::int64_t h = 0; h < s.Hq; ++h) {
            const std::int64_t g = h / (s.Hq / s.Hkv);
            Clusters entries = c.clusters[NaiveCache::u(g)];
            for (std::int64_t t = s.prompt; t <= i; ++t) entries.push_back({t});
            std::vector<double> sum(NaiveCache::u(s.Dv));
            double all = 0;
            for (const Positions& e : entries) {
                const auto k = mean(e, s.D, [&](std::int64_t t) { return c.x.keys().row(g, t); });
                const auto v = mean(e, s.Dv, [&](std::int64_t t) { return c.x.values().row(g, t); });
                const double score = std::inner_product(k.begin(), k.end(), c.x.queries().row(h, i), 0.) /
                                     std::sqrt(static_cast<double>(s.D));
                const double weight = std::exp(score) * (count_bias ? static_cast<double>(e.size()) : 1.);
                all += weight;
                for (std::size_t n = 0; n < v.size(); ++n) sum[n] += weight * v[n];
            }
            for (const double x : sum) o.push_back(x / all);
        }
    return o;
}

struct PooledShape {
    EvictionSizes sizes;
    PooledLayerOptions options;
};
PooledShape shape(const EvictionSizes& sizes, const TokenPoolingOptions& o, std::int64_t recent, bool count_bias) {
    PooledShape s{sizes, {}};
    static_cast<TokenPoolingOptions&>(s.options) = o;
    s.options.recent = recent, s.options.count_bias = count_bias, s.options.query_heads = sizes.Hq;
    return s;
}
const std::vector<PooledShape> shapes = {
    shape({43, 34, 4, 2, 12, 10}, options[1], 5, true), shape({30, 25, 6, 3, 9, 14}, options[0], 0, false),
    shape({20, 1, 2, 2, 5, 7}, options[0], 3, true), shape({24, 20, 4, 1, 16, 16}, options[3], 2, true),
    shape({12, 8, 3, 3, 7, 5}, options[0], 100, true)};

TEST(TokenPooling, LayersDecodeOverEntriesAndLaterTokens) {
    for (const PooledShape& of : shapes) {
        const EvictionSizes& s = of.sizes;
        SCOPED_TRACE(testing::Message() << s);
        const auto c = clear_case(s, of.options, of.options.recent);
        ASSERT_TRUE(c) << "no case without near ties";
        const std::vector<double> want = naive_decode(*c, of.options.count_bias);
        on_every_isa([&](Context& context) {
            for (const std::int64_t at_once : {std::int64_t{1}, s.T - s.prompt}) {
                KvCache cache({.kv_heads = s.Hkv, .dim = s.D, .dim_v = s.Dv, .capacity = s.T});
                PooledLayer layer(cache, of.options);
                layer.prompt(c->x.keys().slice(0, s.prompt), c->x.values().slice(0, s.prompt), context);
                std::vector<float> o(want.size());
                for (std::int64_t t = s.prompt; t < s.T; t += at_once)
                    layer.step(c->x.queries().slice(t, at_once), c->x.keys().slice(t, at_once),
                               c->x.values().slice(t, at_once),
                               attenta::nhd(o.data() + (t - s.prompt) * s.Hq * s.Dv, at_once, s.Hq, s.Dv), context);
                for (std::int64_t g = 0; g < s.Hkv; ++g)
                    EXPECT_EQ(std::vector<std::int64_t>(layer.labels(g).begin(), layer.labels(g).end()),
                              labels_of(c->clusters[NaiveCache::u(g)], s.prompt));
                for (std::size_t i = 0; i < want.size(); ++i)
                    ASSERT_NEAR(o[i], want[i], 2e-5 + 2e-4 * std::abs(want[i])) << "element " << i;
            }
        });
    }
}

TEST(TokenPooling, LayersInOtherStorages) {
    const EvictionCase x({40, 30, 4, 2, 16, 16}, 4);
    for (const auto& storage : {attenta::KvStorage(attenta::Dtype::bf16), attenta::KvStorage::int8()}) {
        KvCache cache({.kv_heads = 2, .dim = 16, .capacity = 26, .storage = storage});
        PooledLayer layer(cache, shapes[0].options);
        layer.prompt(x.keys().slice(0, 30), x.values().slice(0, 30));
        EXPECT_EQ(cache.size(0), 5 + 25 / 3);
        std::vector<float> o(4 * 16);
        layer.step(x.queries().slice(30, 1), x.keys().slice(30, 1), x.values().slice(30, 1),
                   attenta::nhd(o.data(), 1, 4, 16));
        for (const float e : o) EXPECT_TRUE(std::isfinite(e));
    }
}

TEST(TokenPoolingErrors, NameWhatDoesNotFit) {
    std::vector<float> x = Random(1).normals(10 * 4);
    const auto pool = [&](const TokenPoolingOptions& o, std::int64_t rows = 10) {
        attenta::token_pooling({x.data(), 1, rows, 4}, o);
    };
    EXPECT_TRUE(refuses([&] { pool({.pool_factor = 0}); }, {"token_pooling", "pool_factor", "0", "1"}));
    EXPECT_TRUE(refuses([&] { pool({.protected_tokens = -1}); }, {"token_pooling", "protected", "-1", "0"}));
    EXPECT_TRUE(refuses([&] { pool({}, 0); }, {"token_pooling", "x", "0", "one"}));
    EXPECT_TRUE(refuses([&] { attenta::token_pooling({nullptr, 1, 3, 4}); }, {"token_pooling", "x", "null"}));
    x[22] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(refuses([&] { pool({}); }, {"token_pooling", "x", "5", "finite"}));
    std::fill_n(x.begin() + 20, 4, 0.f);
    EXPECT_TRUE(refuses([&] { pool({}); }, {"token_pooling", "vector", "zero"}));
    pool({.protected_tokens = 6});
}

TEST(TokenPoolingErrors, LayersAreEmptyAndFit) {
    const EvictionCase x({12, 10, 4, 2, 8, 6}, 4);
    KvCache cache({.kv_heads = 2, .dim = 8, .dim_v = 6, .capacity = 7});
    const auto make = [&](std::int64_t query_heads, std::int64_t recent) {
        PooledLayerOptions o;
        o.query_heads = query_heads, o.recent = recent;
        return PooledLayer(cache, o);
    };
    EXPECT_TRUE(refuses([&] { make(3, 0); }, {"token_pooling", "query_heads", "3", "2"}));
    EXPECT_TRUE(refuses([&] { make(4, -1); }, {"token_pooling", "recent", "-1", "0"}));
    PooledLayer layer = make(4, 0), long_layer = make(4, 8);
    const auto keys = x.keys().slice(0, 10), values = x.values().slice(0, 10);
    EXPECT_TRUE(refuses([&] { layer.prompt(values, values); }, {"token_pooling", "k", "6", "8"}));
    EXPECT_TRUE(refuses([&] { layer.prompt(keys, values.slice(0, 9)); }, {"token_pooling", "v", "9", "10"}));
    EXPECT_TRUE(refuses([&] { long_layer.prompt(keys, values); }, {"KvCache::append", "7"}));
    EXPECT_EQ(cache.size(0), 0);
    layer.prompt(keys, values);
    EXPECT_TRUE(refuses([&] { layer.prompt(keys, values); }, {"token_pooling", "layer", "0"}));
    EXPECT_TRUE(refuses([&] { layer.step(x.queries().slice(0, 2), keys.slice(0, 1), values.slice(0, 1), {}); },
                        {"token_pooling", "q", "2", "1"}));
    EXPECT_EQ(cache.size(0), 5);
}

}  // namespace
}  // namespace attenta_test
