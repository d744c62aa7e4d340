#include <attenta/sparse/content/routing.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <vector>

#include "sparse/support/naive.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {
namespace {

using namespace attenta;
using Rows = std::vector<std::vector<double>>;

struct RoutingCase {
    RoutingCase(std::int64_t heads, std::int64_t tokens, std::int64_t centroids, std::int64_t dim, std::int64_t dim_v,
                bool shared, std::uint64_t seed = 1)
        : random(seed),
          q(random_tensor(random, heads, tokens, dim, Order::token_head, 3)),
          k(random_tensor(random, heads, tokens, dim)),
          v(random_tensor(random, heads, tokens, dim_v, Order::token_head)),
          mu(random_tensor(random, heads, centroids, dim)),
          ema_count(random_tensor(random, heads, centroids, 1)),
          ema_sum(random_tensor(random, heads, centroids, dim)) {
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t c = 0; c < centroids; ++c)
                ema_count.view().row(h, c)[0] = static_cast<float>(1 + 5 * random.uniform());
        x = {q.view(), v.view(), mu.view()};
        if (!shared) x.k = k.view();
        x.ema_count = ema_count.view();
        x.ema_sum = ema_sum.view();
    }

    Random random;
    Tensor<float> q, k, v, mu, ema_count, ema_sum;
    RoutingInputs x;
};

Rows rows_of(Heads<const float> x, std::int64_t h) {
    Rows rows;
    for (std::int64_t t = 0; t < x.tokens; ++t) rows.emplace_back(x.row(h, t), x.row(h, t) + x.dim);
    return rows;
}

Rows normalised(Rows rows, RoutingNorm norm) {
    for (auto& row : rows) {
        double mean = 0, squares = 0;
        if (norm == RoutingNorm::layer)
            mean = std::accumulate(row.begin(), row.end(), 0.0) / static_cast<double>(row.size());
        for (double& y : row) y -= mean, squares += y * y;
        for (double& y : row)
            y /= norm == RoutingNorm::layer ? std::sqrt(squares / static_cast<double>(row.size()) + 1e-6)
                                            : std::max(std::sqrt(squares), 1e-12);
    }
    return rows;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

Keys members(const Rows& tokens, const std::vector<double>& centroid, std::int64_t window) {
    std::vector<double> s;
    for (const auto& row : tokens) s.push_back(dot(row, centroid));
    return best(s, window);
}

struct RoutingResult {
    std::vector<double> o;
    std::vector<std::int64_t> count;
    std::vector<Keys> queries, keys;
};

RoutingResult naive_routing(const RoutingInputs& x, const RoutingOptions& o) {
    RoutingResult result;
    const bool shared = x.k.data == nullptr;
    const std::int64_t tokens = x.q.tokens;
    const std::int64_t window = o.window.value_or(std::max<std::int64_t>(1, tokens / x.mu.tokens));
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        const Rows q = rows_of(x.q, h), k = rows_of(shared ? x.q : x.k, h), v = rows_of(x.v, h), mu = rows_of(x.mu, h),
                   q_hat = normalised(q, o.norm), k_hat = normalised(k, o.norm);
        std::vector<Keys> queries, keys;
        for (const auto& centroid : mu) {
            queries.push_back(members(q_hat, centroid, window));
            keys.push_back(members(k_hat, centroid, window));
        }
        for (std::size_t t = 0; t < q.size(); ++t) {
            std::vector<double> sum(v[0].size());
            std::int64_t count = 0;
            for (std::size_t c = 0; c < mu.size(); ++c) {
                const auto i = static_cast<std::int64_t>(t);
                if (!std::count(queries[c].begin(), queries[c].end(), i)) continue;
                Keys seen;
                for (const std::int64_t j : keys[c])
                    if (!o.causal || j <= i) seen.push_back(j);
                if (shared && o.self_mask && seen.size() > 1) std::erase(seen, i);
                if (seen.empty()) continue;
                std::vector<double> s;
                for (const std::int64_t j : seen) {
                    const auto n = static_cast<std::size_t>(j);
                    s.push_back(naive_scale(o.scale, x.q.dim) *
                                dot(o.logit_norm == RoutingLogits::qk ? q_hat[t] : q[t],
                                    o.logit_norm == RoutingLogits::none ? k[n] : k_hat[n]));
                }
                const double most = *std::max_element(s.begin(), s.end());
                double all = 0;
                for (const double y : s) all += std::exp(y - most);
                for (std::size_t n = 0; n < s.size(); ++n)
                    for (std::size_t d = 0; d < sum.size(); ++d)
                        sum[d] += std::exp(s[n] - most) / all * v[static_cast<std::size_t>(seen[n])][d];
                ++count;
            }
            for (const double y : sum)
                result.o.push_back(count == 0 ? 0 : y / (static_cast<double>(count) + double{o.scatter_eps}));
            result.count.push_back(count);
        }
        result.queries.insert(result.queries.end(), queries.begin(), queries.end());
        result.keys.insert(result.keys.end(), keys.begin(), keys.end());
    }
    return result;
}

std::vector<Keys> keys_of_lists(const KeyLists& lists) {
    std::vector<Keys> all;
    for (std::int64_t n = 0; n < lists.lists(); ++n) {
        Keys& keys = all.emplace_back();
        for (const KeyRun& run : lists.runs(n))
            for (const std::int64_t j : range(run.start, run.start + run.count)) keys.push_back(j);
    }
    return all;
}

void expect_definition(const RoutingCase& c, const RoutingOptions& options) {
    const RoutingResult want = naive_routing(c.x, options);
    const std::int64_t heads = c.x.q.heads, tokens = c.x.q.tokens, dim_v = c.x.v.dim;
    on_every_isa([&](Context& context) {
        std::vector<float> memory(static_cast<std::size_t>(heads * tokens * (dim_v + 3)));
        const Heads<float> o = nhd(memory.data(), tokens, heads, dim_v, {.head_stride = dim_v + 3});
        std::vector<std::int64_t> count(static_cast<std::size_t>(heads * tokens));
        KeyLists queries, keys;
        routing(c.x, {o, count.data(), &queries, &keys}, options, context);
        std::size_t n = 0;
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t t = 0; t < tokens; ++t)
                for (std::int64_t d = 0; d < dim_v; ++d, ++n)
                    ASSERT_NEAR(want.o[n], double{o.row(h, t)[d]}, 2e-5) << h << ' ' << t << ' ' << d;
        EXPECT_EQ(want.count, count);
        EXPECT_EQ(want.queries, keys_of_lists(queries));
        EXPECT_EQ(want.keys, keys_of_lists(keys));
    });
}

const std::vector<RoutingOptions> variants = {
    {},
    {.causal = false},
    {.window = 5, .norm = RoutingNorm::l2, .logit_norm = RoutingLogits::k},
    {.window = 7, .logit_norm = RoutingLogits::none, .self_mask = true, .scale = 0.3f},
    {.window = 6, .causal = false, .self_mask = true, .scatter_eps = 0.01f},
    {.window = 1, .causal = false, .self_mask = true},
    {.window = 1, .scatter_eps = 1}};

TEST(Routing, HoldsForAwkwardShapes) {
    for (const bool shared : {true, false})
        for (std::size_t n = 0; n < variants.size(); ++n) {
            SCOPED_TRACE("variant " + std::to_string(n) + (shared ? ", keys are the queries" : ""));
            expect_definition(RoutingCase(2, 33, 4, 16, 24, shared, n + 1), variants[n]);
            expect_definition(RoutingCase(3, 50, 7, 7, 5, shared, n + 20), variants[n]);
        }
}

TEST(Routing, OneTokenAndLargeClusters) {
    for (const bool shared : {true, false}) {
        expect_definition(RoutingCase(2, 1, 3, 8, 8, shared), {});
        expect_definition(RoutingCase(2, 1, 3, 8, 8, shared), {.self_mask = true});
        expect_definition(RoutingCase(1, 9, 1, 8, 8, shared), {});
        expect_definition(RoutingCase(2, 300, 2, 16, 16, shared), {.window = 200});
        expect_definition(RoutingCase(1, 160, 2, 16, 16, shared), {.window = 160, .self_mask = true});
    }
}

TEST(Routing, IsTheSameForAnyThreads) {
    const RoutingCase c(3, 120, 6, 16, 16, false);
    std::optional<std::vector<float>> first;
    for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        Context context(pool);
        std::vector<float> o(3 * 120 * 16);
        routing(c.x, {hnd(o.data(), 3, 120, 16)}, {}, context);
        EXPECT_EQ(first.value_or(o), o);
        first = o;
    }
}

struct Next {
    std::vector<double> mu, ema_count, ema_sum;
};

Next naive_update(const RoutingInputs& x, const RoutingOptions& o) {
    Next next;
    const double keep{o.decay};
    for (std::int64_t h = 0; h < x.mu.heads; ++h) {
        const Rows mu = rows_of(x.mu, h);
        std::vector<double> number(mu.size());
        Rows sum(mu.size(), std::vector<double>(mu[0].size()));
        for (const Heads<const float>& from : {x.q, x.k}) {
            if (!from.data) continue;
            const double times = !x.k.data && o.update == RoutingUpdate::sum ? 2 : 1;  // keys are the queries
            for (const auto& row : normalised(rows_of(from, h), o.norm)) {
                std::size_t nearest = 0;
                for (std::size_t c = 1; c < mu.size(); ++c)
                    if (dot(row, mu[c]) > dot(row, mu[nearest])) nearest = c;
                number[nearest] += 1;
                for (std::size_t d = 0; d < row.size(); ++d) sum[nearest][d] += times * row[d];
            }
        }
        std::vector<double> count;
        for (std::size_t c = 0; c < mu.size(); ++c)
            count.push_back(keep * double{x.ema_count.row(h, static_cast<std::int64_t>(c))[0]} +
                            (1 - keep) * number[c]);
        const double all = std::accumulate(count.begin(), count.end(), 0.0);
        for (std::size_t c = 0; c < mu.size(); ++c) {
            const double length = std::max(std::sqrt(dot(sum[c], sum[c])), 1e-12);
            for (std::size_t d = 0; d < mu[c].size(); ++d) {
                const double ema =
                    keep * double{x.ema_sum.row(h, static_cast<std::int64_t>(c))[d]} + (1 - keep) * sum[c][d];
                next.ema_sum.push_back(ema);
                if (o.update == RoutingUpdate::sum) next.mu.push_back(keep * mu[c][d] + (1 - keep) / 2 * sum[c][d]);
                if (o.update == RoutingUpdate::unit)
                    next.mu.push_back(keep * mu[c][d] + (1 - keep) * (number[c] == 0 ? mu[c][d] : sum[c][d] / length));
                if (o.update == RoutingUpdate::count)
                    next.mu.push_back(ema / ((count[c] + 1e-5) / (all + 1e-5 * static_cast<double>(mu.size())) * all));
            }
        }
        next.ema_count.insert(next.ema_count.end(), count.begin(), count.end());
    }
    return next;
}

TEST(RoutingUpdates, HoldForEachRule) {
    for (const bool shared : {true, false})
        for (const RoutingUpdate update : {RoutingUpdate::sum, RoutingUpdate::unit, RoutingUpdate::count})
            for (const RoutingNorm norm : {RoutingNorm::layer, RoutingNorm::l2}) {
                // More centroids than tokens: some have none.
                RoutingCase c(2, 9, 12, 8, 8, shared, 7);
                const RoutingOptions options{.norm = norm, .decay = 0.75f, .update = update};
                const Next want = naive_update(c.x, options);
                std::vector<float> mu(2 * 12 * 8), count(2 * 12), sum(2 * 12 * 8);
                routing_update(c.x, {hnd(mu.data(), 2, 12, 8), count.data(), hnd(sum.data(), 2, 12, 8)}, options);
                for (std::size_t i = 0; i < mu.size(); ++i) EXPECT_NEAR(want.mu[i], double{mu[i]}, 1e-5);
                if (update == RoutingUpdate::count) {
                    for (std::size_t i = 0; i < sum.size(); ++i) EXPECT_NEAR(want.ema_sum[i], double{sum[i]}, 1e-5);
                    for (std::size_t i = 0; i < count.size(); ++i)
                        EXPECT_NEAR(want.ema_count[i], double{count[i]}, 1e-5);
                }
                routing_update(c.x, {c.mu.view(), c.ema_count.view().data, c.ema_sum.view()}, options);  // in place
                for (std::int64_t h = 0; h < 2; ++h)
                    for (std::int64_t t = 0; t < 12; ++t)
                        EXPECT_TRUE(std::equal(mu.data() + (h * 12 + t) * 8, mu.data() + (h * 12 + t + 1) * 8,
                                               c.mu.view().row(h, t)));
            }
}

TEST(RoutingErrors, NothingIsWritten) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil, const RoutingOptions& o = {}) {
        RoutingCase c(2, 12, 3, 8, 4, false);
        std::vector<float> memory(2 * 12 * 4, 7.f);
        Heads<float> out = hnd(memory.data(), 2, 12, 4);
        spoil(c, out);
        const auto result = refuses([&] { routing(c.x, {out}, o); }, words);
        EXPECT_EQ(memory, std::vector<float>(memory.size(), 7.f));
        return result;
    };
    const auto nothing = [](RoutingCase&, Heads<float>&) {};
    const float nan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(refused({"routing", "window", "13", "12"}, nothing, {.window = 13}));
    EXPECT_TRUE(refused({"routing", "window", "0", "1"}, nothing, {.window = 0}));
    EXPECT_TRUE(refused({"routing", "scale"}, nothing, {.scale = -1.f}));
    EXPECT_TRUE(refused({"routing", "scatter_eps"}, nothing, {.scatter_eps = nan}));
    EXPECT_TRUE(refused({"routing", "decay", "0", "1"}, nothing, {.decay = 2}));
    EXPECT_TRUE(refused({"routing", "q", "null"}, [](RoutingCase& c, auto&) { c.x.q.data = nullptr; }));
    EXPECT_TRUE(refused({"routing", "mu"},
                        [](RoutingCase& c, auto&) { c.x.mu.tokens = c.x.ema_count.tokens = c.x.ema_sum.tokens = 0; }));
    EXPECT_TRUE(refused({"routing", "k", "11", "12"}, [](RoutingCase& c, auto&) { c.x.k.tokens = 11; }));
    EXPECT_TRUE(refused({"routing", "mu", "7", "8"}, [](RoutingCase& c, auto&) { c.x.mu.dim = 7; }));
    EXPECT_TRUE(refused({"routing", "o", "3", "4"}, [](RoutingCase&, Heads<float>& o) { o.dim = 3; }));
    EXPECT_TRUE(refused({"routing", "o", "v"}, [](RoutingCase& c, Heads<float>& o) { o.data = c.v.view().data; }));
    // Ten tokens with numbers are fewer than a cluster of 11.
    EXPECT_TRUE(refused({"routing", "numbers"},
                        [&](RoutingCase& c, auto&) { c.q.view().row(1, 3)[2] = c.q.view().row(1, 5)[2] = nan; },
                        {.window = 11}));
    EXPECT_TRUE(refused({"routing", "v", "nan"}, [&](RoutingCase& c, auto&) { c.v.view().row(1, 3)[2] = nan; },
                        {.check_data = true}));
}

TEST(RoutingErrors, Updates) {
    RoutingCase c(2, 12, 3, 8, 4, true);
    std::vector<float> mu(2 * 3 * 8), count(6), sum(2 * 3 * 8);
    const RoutingOptions options{.update = RoutingUpdate::count};
    const RoutingCentroids to{hnd(mu.data(), 2, 3, 8), count.data(), hnd(sum.data(), 2, 3, 8)};
    EXPECT_NO_THROW(routing_update(c.x, to, options));
    RoutingCentroids bad = to;
    bad.ema_count = nullptr;
    EXPECT_TRUE(refuses([&] { routing_update(c.x, bad, options); }, {"routing", "ema_count", "null"}));
    bad = to;
    bad.mu.dim = 7;
    EXPECT_TRUE(refuses([&] { routing_update(c.x, bad, options); }, {"routing", "mu", "7", "8"}));
    bad = to;
    bad.mu.data = c.q.view().data;
    EXPECT_TRUE(refuses([&] { routing_update(c.x, bad, options); }, {"routing", "mu", "q"}));
    c.x.ema_sum.data = nullptr;
    EXPECT_TRUE(refuses([&] { routing_update(c.x, to, options); }, {"routing", "ema_sum", "null"}));
}

}  // namespace
}  // namespace attenta_test
