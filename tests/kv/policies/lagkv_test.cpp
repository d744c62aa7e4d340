#include <attenta/kv/policies/lagkv.hpp>

#include <cmath>

#include "kv/support/policy.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::Lagkv, attenta::LagkvOptions;

/// softmax over a block of the standard deviation of each token's channels in the ranges of the next block; x(token,
/// channel).
template <class X>
std::vector<double> spread(std::int64_t first, std::int64_t lag, std::int64_t dim, X&& x) {
    std::vector<double> s;
    for (std::int64_t t = first; t < first + lag; ++t) {
        std::vector<double> y;
        for (std::int64_t c = 0; c < dim; ++c) {
            double low = x(first + lag, c), high = low;
            for (std::int64_t n = first + lag; n < first + 2 * lag; ++n)
                low = std::min(low, x(n, c)), high = std::max(high, x(n, c));
            y.push_back((x(t, c) - low) / (high - low));
        }
        const double mean = std::accumulate(y.begin(), y.end(), 0.) / static_cast<double>(dim);
        double squares = 0;
        for (const double e : y) squares += (e - mean) * (e - mean);
        s.push_back(std::sqrt(squares / static_cast<double>(dim - 1)));
    }
    const double most = *std::max_element(s.begin(), s.end());
    double all = 0;
    for (double& e : s) all += e = std::exp(e - most);
    for (double& e : s) e /= all;
    return s;
}

/// The sinks, the tokens from the last whole block on, and the best ranks of the blocks before it.
std::vector<Positions> lagkv(const NaiveCache& c, const LagkvOptions& o) {
    std::vector<Positions> kept = c.kept;
    const std::int64_t P = c.seen, L = o.lag;
    if (P > c.prompt() || P <= o.budget) return kept;
    for (std::int64_t g = 0; g < std::ssize(kept); ++g) {
        Positions& held = kept[NaiveCache::u(g)];
        const Positions sinks(held.begin(), held.begin() + o.sink);
        if (P < o.sink + 2 * L) {
            held = c.together(sinks, Positions(held.end() - (o.budget - o.sink), held.end()));
            continue;
        }
        const std::int64_t end = o.sink + ((P - o.sink) / L - 1) * L;
        std::vector<double> ranks;
        for (std::int64_t first = o.sink; first < end; first += L) {
            const auto key = spread(first, L, c.x.sizes.D, [&](auto t, auto i) { return double{c.key(t, g)[i]}; });
            const auto value = spread(first, L, c.x.sizes.Dv, [&](auto t, auto i) { return double{c.value(t, g)[i]}; });
            for (std::size_t t = 0; t < key.size(); ++t) {
                double lower = 0;
                for (std::size_t n = 0; n < key.size(); ++n) {
                    c.note((key[t] + value[t]) / 2, (key[n] + value[n]) / 2);
                    lower += key[n] + value[n] < key[t] + value[t];
                }
                ranks.push_back(lower);
            }
        }
        const Positions judged(held.begin() + o.sink, held.begin() + end), recent(held.begin() + end, held.end());
        held = c.together(c.together(sinks, c.top(ranks, judged, o.budget - o.sink - std::ssize(recent))), recent);
    }
    return kept;
}

[[maybe_unused]] const auto& tested =
    test_policy<Lagkv, lagkv>("lagkv", {{"plain", {.budget = 20, .lag = 5, .sink = 3}},
                                        {"no sink", {.budget = 16, .lag = 7, .sink = 0}},
                                        {"blocks of three", {.budget = 9, .lag = 3, .sink = 1}},
                                        {"too short", {.budget = 12, .lag = 30, .sink = 4}}});

TEST(Lagkv, RefusesWhatDoesNotFit) {
    const auto needs = [](const LagkvOptions& o, std::int64_t dim = 16) { Lagkv(o).needs({4, 2, dim, 16}); };
    EXPECT_TRUE(refuses([&] { needs({.budget = 0}); }, {"lagkv", "budget", "0"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 4, .sink = 5}); }, {"lagkv", "sink", "5", "4"}));
    EXPECT_TRUE(refuses([&] { needs({.lag = 0}); }, {"lagkv", "lag", "0", "1"}));
    EXPECT_TRUE(refuses([&] { needs({}, 1); }, {"lagkv", "keys", "1", "2"}));
}

TEST(Lagkv, RefusesPromptsThatDoNotFit) {
    EvictionCase x({42, 41, 2, 1, 8, 8}, 7);
    attenta::Context context;
    const auto run = [&](const LagkvOptions& o) {
        Lagkv policy(o);
        run_policy(x, policy, context);
    };
    // 3 sinks, 3 whole blocks of 10 and 8 tokens behind them.
    EXPECT_TRUE(refuses([&] { run({.budget = 20, .lag = 10, .sink = 3}); }, {"lagkv", "budget", "20", "21"}));
    for (std::size_t t = 13; t < 23; ++t) x.v[t * 8 + 5] = 0.5f;
    EXPECT_TRUE(refuses([&] { run({.budget = 30, .lag = 10, .sink = 3}); }, {"lagkv", "channel", "5", "13", "22"}));
    run({.budget = 41, .lag = 10, .sink = 3});
}

}  // namespace
}  // namespace attenta_test
