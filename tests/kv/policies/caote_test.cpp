#include <attenta/kv/policies/caote.hpp>

#include "kv/support/policy.hpp"
#include "kv/support/window.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::Caote, attenta::CaoteBase, attenta::CaoteMulti, attenta::CaoteOptions, attenta::Pooling;

/// What the base policy gives to the tokens that head h's K/V head holds.
std::vector<double> base_weights(const NaiveCache& c, const CaoteOptions& o, std::int64_t h) {
    const Positions& held = c.kept[NaiveCache::u(h / c.group())];
    std::vector<double> weights(held.size());
    if (o.base != CaoteBase::snapkv) {
        const std::int64_t first = o.base == CaoteBase::h2o ? 0 : c.seen - 1;
        for (std::size_t n = 0; n < held.size(); ++n)
            for (std::int64_t i = first; i < c.seen; ++i) weights[n] += c.a(h, i, held[n]);
        return weights;
    }
    const std::int64_t window = std::min(o.window, c.seen);
    for (const auto& row : c.window(h, window))
        for (std::size_t n = 0; n < held.size(); ++n) weights[n] += row[n] / static_cast<double>(window);
    const auto cut = weights.begin() + std::max<std::int64_t>(0, std::ssize(held) - window);
    const std::vector<double> pooled = naive_pool({weights.begin(), cut}, o.kernel, o.pooling);
    std::copy(pooled.begin(), pooled.end(), weights.begin());
    return weights;
}

using Output = std::vector<double>;

/// Σ_i α_i v_i over `tokens` but `without`, weights scaled to sum 1.
Output output(const NaiveCache& c, std::int64_t g, const Positions& tokens, const std::vector<double>& weights,
              std::int64_t without = -1) {
    Output x(NaiveCache::u(c.x.sizes.Dv));
    double all = 0;
    for (std::size_t n = 0; n < tokens.size(); ++n) {
        if (tokens[n] == without) continue;
        all += weights[n];
        for (std::size_t d = 0; d < x.size(); ++d) x[d] += weights[n] * double{c.value(tokens[n], g)[d]};
    }
    for (double& e : x) e /= all;
    return x;
}

double distance(const Output& x, const Output& y) {
    double sum = 0;
    for (std::size_t d = 0; d < x.size(); ++d) sum += (x[d] - y[d]) * (x[d] - y[d]);
    return std::sqrt(sum);
}

/// How far a head's output moves if a token is really taken away; with `fast` by the formula, from the mean of the values.
double error_of(const NaiveCache& c, const CaoteOptions& o, std::int64_t g, const Positions& tokens,
                const std::vector<double>& weights, std::size_t n) {
    if (!o.fast) return distance(output(c, g, tokens, weights), output(c, g, tokens, weights, tokens[n]));
    double others = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) others += i == n ? 0 : weights[i];
    const Output mean = output(c, g, tokens, std::vector<double>(tokens.size(), 1.));
    return weights[n] / others * distance(mean, output(c, g, {tokens[n]}, {1.}));
}

/// `count` of the tokens before the newest `recent` go: those of the smallest mean error over the heads of the group.
Positions without_least(const NaiveCache& c, const CaoteOptions& o, std::int64_t g, const Positions& tokens,
                        const std::vector<std::vector<double>>& weights, std::int64_t recent, std::int64_t count) {
    const Positions old(tokens.begin(), tokens.end() - recent);
    std::vector<double> errors(old.size());
    for (std::size_t n = 0; n < old.size(); ++n)
        for (const auto& of_head : weights)
            errors[n] += error_of(c, o, g, tokens, of_head, n) / static_cast<double>(c.group());
    return c.together(c.top(errors, old, std::ssize(old) - count), {tokens.end() - recent, tokens.end()});
}

std::vector<Positions> caote(const NaiveCache& c, const CaoteOptions& o) {
    std::vector<Positions> kept = c.kept;
    const std::int64_t recent = o.base == CaoteBase::h2o      ? o.recent.value_or(o.budget / 2)
                                : o.base == CaoteBase::snapkv ? std::min(o.window, c.seen)
                                                              : 0;
    for (std::int64_t g = 0; g < std::ssize(kept); ++g) {
        Positions& held = kept[NaiveCache::u(g)];
        std::vector<std::vector<double>> weights;
        for (std::int64_t h = g * c.group(); h < (g + 1) * c.group(); ++h) weights.push_back(base_weights(c, o, h));
        while (std::ssize(held) > o.budget) {
            const std::int64_t count = o.multi == CaoteMulti::once ? std::ssize(held) - o.budget : 1;
            const Positions before = held;
            held = without_least(c, o, g, before, weights, recent, count);
            for (auto& of_head : weights) {
                std::vector<double> left;
                for (std::size_t n = 0; n < before.size(); ++n)
                    if (std::binary_search(held.begin(), held.end(), before[n])) left.push_back(of_head[n]);
                of_head = left;
            }
        }
    }
    return kept;
}

[[maybe_unused]] const auto& tested = test_policy<Caote, caote>(
    "caote", {{"h2o", {.budget = 17, .recent = 6}},
              {"h2o, one by one, from the mean", {.budget = 16, .fast = true, .multi = CaoteMulti::greedy}},
              {"tova", {.budget = 14, .base = CaoteBase::tova}},
              {"tova, from the mean", {.budget = 13, .base = CaoteBase::tova, .fast = true}},
              {"tova, one token", {.budget = 1, .base = CaoteBase::tova, .multi = CaoteMulti::greedy}},
              {"snapkv", {.budget = 15, .base = CaoteBase::snapkv, .window = 5, .kernel = 3, .pooling = Pooling::max}},
              {"snapkv, one by one",
               {.budget = 12, .base = CaoteBase::snapkv, .window = 4, .kernel = 5, .multi = CaoteMulti::greedy}}});

/// A head that looks at one token alone: its error is neither 0/0 nor lost beside the others.
TEST(Caote, KeepsATokenThatHasAllTheWeight) {
    const EvictionSizes sizes{24, 20, 1, 1, 4, 6};
    for (const bool fast : {false, true})
        for (const CaoteMulti multi : {CaoteMulti::once, CaoteMulti::greedy}) {
            EvictionCase x(sizes, 3);
            for (std::int64_t t = 0; t < sizes.T; ++t)
                for (std::int64_t d = 0; d < sizes.D; ++d) {
                    x.q[static_cast<std::size_t>(t * sizes.D + d)] = d == 0 ? 40.f : 0.f;
                    x.k[static_cast<std::size_t>(t * sizes.D + d)] = d == 0 && t == 7 ? 40.f : 0.f;
                }
            attenta::Context context;
            Caote policy({.budget = 3, .base = CaoteBase::tova, .fast = fast, .multi = multi});
            const EvictionResult got = run_policy(x, policy, context);
            EXPECT_EQ(got.kept[0], (Positions{7, 22, 23}));
        }
}

TEST(Caote, RefusesOptionsThatDoNotFit) {
    const auto needs = [](const CaoteOptions& o) { Caote(o).needs({4, 2, 16, 16}); };
    EXPECT_TRUE(refuses([&] { needs({.budget = 0}); }, {"caote", "budget", "0", "1"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 8, .recent = 9}); }, {"caote", "recent", "9", "8"}));
    EXPECT_TRUE(
        refuses([&] { needs({.budget = 8, .base = CaoteBase::snapkv, .window = 8}); }, {"caote", "window", "8"}));
    EXPECT_TRUE(refuses([&] { needs({.base = CaoteBase::snapkv, .kernel = 2}); }, {"caote", "kernel", "2", "odd"}));
}

}  // namespace
}  // namespace attenta_test
