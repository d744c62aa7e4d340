#include <attenta/kv/policies/defensive_kv.hpp>

#include <cmath>
#include <limits>

#include "kv/support/policy.hpp"
#include "kv/support/shares.hpp"
#include "kv/support/window.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::DefensiveAllocation, attenta::DefensiveKv, attenta::DefensiveKvOptions, attenta::Pooling;

using Rows = std::vector<std::vector<double>>;
double sum(const std::vector<double>& x) { return std::accumulate(x.begin(), x.end(), 0.); }

/// max over rows of pool(row), scaled to the row's mass; no less than its mean over tokens.
std::vector<double> worst_case(const NaiveCache& c, const Rows& a, std::int64_t kernel) {
    std::vector<double> most(a[0].size());
    for (const auto& row : a) {
        const auto smooth = naive_pool(row, kernel, Pooling::avg);
        for (std::size_t j = 0; j < most.size(); ++j) most[j] = std::max(most[j], smooth[j] * sum(row) / sum(smooth));
    }
    const double mean = sum(most) / static_cast<double>(most.size());
    for (double& x : most) c.note(x, mean), x = std::max(x, mean);
    return most;
}

/// The tokens with the most mean attention, while their shares add up to less than a bound, at most n.
Positions protected_tokens(const NaiveCache& c, const Rows& a, double less_than, std::int64_t n) {
    std::vector<double> share(a[0].size());
    Positions order(share.size());
    for (const auto& row : a)
        for (std::size_t j = 0; j < share.size(); ++j) share[j] += row[j];
    const double all = sum(share);
    for (double& x : share) x /= all;
    std::iota(order.begin(), order.end(), std::int64_t{0});
    std::sort(order.begin(), order.end(), [&](std::int64_t p, std::int64_t q) {
        return std::pair(share[NaiveCache::u(p)], p) > std::pair(share[NaiveCache::u(q)], q);
    });
    double running = 0;
    std::int64_t count = -1;
    for (std::size_t i = 0; i < order.size(); ++i) {
        running += share[NaiveCache::u(order[i])];
        c.note(running, less_than);
        if (count < 0 && running >= less_than) count = static_cast<std::int64_t>(i);
    }
    count = std::clamp<std::int64_t>(count, 0, n);
    if (count > 0 && count < std::ssize(order))
        c.note(share[NaiveCache::u(order[NaiveCache::u(count - 1)])],
               share[NaiveCache::u(order[NaiveCache::u(count)])]);
    order.resize(NaiveCache::u(count));
    return order;
}

/// The window and, of the tokens before it, the best by their worst case.
std::vector<Positions> defensive_kv(const NaiveCache& c, const DefensiveKvOptions& o, const std::vector<float>& norm) {
    std::vector<Positions> kept = c.kept;
    if (c.seen > c.prompt() || c.seen <= o.budget) return kept;
    const std::int64_t Hkv = std::ssize(kept), w = o.window, m = c.seen - w, each = o.budget - w;
    std::vector<Rows> a(kept.size());
    Rows scores;
    double bias = 0;
    for (std::int64_t g = 0; g < Hkv; ++g) {
        Rows& rows = a[NaiveCache::u(g)];
        for (std::int64_t h = g * c.group(); h < (g + 1) * c.group(); ++h)
            for (auto& row : c.window(h, w)) rows.emplace_back(row.begin(), row.begin() + m);
        for (const auto& row : rows)
            bias += std::accumulate(row.end() - std::min(w, m), row.end(), 0.) / static_cast<double>(w * c.x.sizes.Hq);
        scores.push_back(worst_case(c, rows, o.kernel));
    }
    for (std::int64_t g = 0; g < Hkv && !norm.empty(); ++g) {
        for (std::int64_t j = 0; j < m; ++j) {
            const float* const n = norm.data() + j * Hkv;
            scores[NaiveCache::u(g)][NaiveCache::u(j)] *= double{n[g]} / std::accumulate(n, n + Hkv, 0.);
        }
        for (const std::int64_t j : protected_tokens(c, a[NaiveCache::u(g)], o.protect - bias, each))
            scores[NaiveCache::u(g)][NaiveCache::u(j)] = std::numeric_limits<double>::infinity();
    }
    std::vector<std::int64_t> shares(kept.size(), each);
    if (o.allocation == DefensiveAllocation::layer) shares = naive_shares(c, scores, Hkv * each);
    for (std::int64_t g = 0; g < Hkv; ++g) {
        const auto [old, window] = c.without_recent(g, w);
        kept[NaiveCache::u(g)] = c.together(c.top(scores[NaiveCache::u(g)], old, shares[NaiveCache::u(g)]), window);
    }
    return kept;
}

/// value_norm [T, Hkv] of a case.
std::vector<float> norms(const EvictionCase& x) {
    Random random(x.seed + 1000);
    std::vector<float> n = random.normals(x.sizes.T * x.sizes.Hkv);
    for (float& e : n) e = std::exp(0.5f * e);
    return n;
}

/// Holds the norms that it reads.
struct WithNorms : attenta::EvictionPolicy {
    WithNorms(const DefensiveKvOptions& o, std::vector<float> of_case) : norms(std::move(of_case)), policy(o, norms) {}
    attenta::EvictionNeeds needs(const attenta::EvictionShape& shape) override { return policy.needs(shape); }
    void judge(const attenta::EvictionMoment& now, std::span<const attenta::HeldTokens> heads,
               std::span<attenta::EvictionChoice> choices) override {
        policy.judge(now, heads, choices);
    }
    std::vector<float> norms;
    DefensiveKv policy;
};

PolicyVariant variant(std::string name, const DefensiveKvOptions& o, bool with_norms) {
    const auto norms_of = [=](const EvictionCase& x) { return with_norms ? norms(x) : std::vector<float>(); };
    return {std::move(name), [=](const EvictionCase& x) { return std::make_unique<WithNorms>(o, norms_of(x)); },
            [=](const EvictionCase& x) -> NaiveKeep {
                return [=, n = norms_of(x)](const NaiveCache& c) { return defensive_kv(c, o, n); };
            }};
}

[[maybe_unused]] const auto& tested = tested_policies().emplace_back(TestedPolicy{
    "defensive_kv",
    {variant("layer", {.budget = 17, .window = 5}, false),
     variant("floor decides", {.budget = 22, .window = 4, .kernel = 3, .allocation = DefensiveAllocation::head}, false),
     variant("value norms", {.budget = 18, .window = 5, .protect = 0.6}, true),
     variant("many protected", {.budget = 12, .window = 4, .kernel = 1, .protect = 1.1}, true),
     variant("none protected", {.budget = 14, .window = 3, .allocation = DefensiveAllocation::head, .protect = 0},
             true)}});

TEST(DefensiveKv, RefusesWhatDoesNotFit) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const auto needs = [](const DefensiveKvOptions& o, const std::vector<float>& norm = {}) {
        DefensiveKv(o, norm).needs({4, 2, 16, 16});
    };
    EXPECT_TRUE(refuses([&] { needs({.budget = 8, .window = 8}); }, {"defensive_kv", "window", "8"}));
    EXPECT_TRUE(refuses([&] { needs({.kernel = 2}); }, {"defensive_kv", "kernel", "2", "odd"}));
    EXPECT_TRUE(refuses([&] { needs({.protect = double{nan}}); }, {"defensive_kv", "protect", "nan", "finite"}));
    EXPECT_TRUE(refuses([&] { needs({}, {1, 2, 3}); }, {"defensive_kv", "value_norm", "3", "2"}));
    EXPECT_TRUE(refuses([&] { needs({}, {1, nan}); }, {"defensive_kv", "value_norm", "nan"}));
    EXPECT_TRUE(refuses([&] { needs({}, {1, -1}); }, {"defensive_kv", "value_norm", "finite"}));
}

TEST(DefensiveKv, RefusesNormsThatAreMissing) {
    const EvictionCase x({12, 10, 2, 2, 8, 8}, 3);
    attenta::Context context;
    const auto run = [&](const std::vector<float>& norm) {
        DefensiveKv policy({.budget = 6, .window = 2}, norm);
        run_policy(x, policy, context);
    };
    EXPECT_TRUE(refuses([&] { run(std::vector<float>(18, 1.f)); }, {"defensive_kv", "value_norm", "9", "10"}));
    EXPECT_TRUE(refuses([&] { run(std::vector<float>(20, 0.f)); }, {"defensive_kv", "value_norm", "token", "0"}));
}

}  // namespace
}  // namespace attenta_test
