#include <attenta/kv/policies/expected_attention.hpp>

#include <limits>
#include <numeric>

#include "kv/support/given.hpp"
#include "kv/support/rotary.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::ExpectedAttention, attenta::ExpectedAttentionOptions;
using Vector = std::vector<double>;

/// q_pre [Hq, P, D]
attenta::Heads<const float> q_pre_of(const EvictionCase& x) {
    const EvictionSizes& s = x.sizes;
    return attenta::hnd(given_numbers(x, s.Hq * s.prompt * s.D).data(), s.Hq, s.prompt, s.D);
}

auto make(const EvictionCase& x, const ExpectedAttentionOptions& o) {
    return std::make_unique<ExpectedAttention>(q_pre_of(x), o);
}

/// The mean rotation of positions first .. first + count − 1, applied to x.
Vector mean_rotation(const Vector& x, std::int64_t first, std::int64_t count, double base) {
    Vector mean(x.size());
    for (std::int64_t t = first; t < first + count; ++t) {
        const Vector y = naive_rotate(x.data(), std::ssize(x), t, base);
        for (std::size_t d = 0; d < x.size(); ++d) mean[d] += y[d] / static_cast<double>(count);
    }
    return mean;
}

/// softmax over positions of k_j·(Rμ)/√D + kᵀ (R Σ Rᵀ) k / (2D), for a query head.
Vector expected_weights(const NaiveCache& c, std::int64_t head, const Positions& over,
                        const ExpectedAttentionOptions& o) {
    const auto q = q_pre_of(c.x);
    const auto D = NaiveCache::u(c.x.sizes.D);
    const auto count = static_cast<double>(q.tokens - o.sink), dim = static_cast<double>(D);
    Vector mean(D);
    for (std::int64_t t = o.sink; t < q.tokens; ++t)
        for (std::size_t d = 0; d < D; ++d) mean[d] += double{q.row(head, t)[d]} / count;
    const Vector future = mean_rotation(mean, c.seen, o.future, o.rope_base);
    std::vector<Vector> apart;  // R (x − μ): their squared products with k_j have the mean kᵀ (R Σ Rᵀ) k
    for (std::int64_t t = o.sink; t < q.tokens && o.covariance; ++t) {
        Vector x(q.row(head, t), q.row(head, t) + D);
        for (std::size_t d = 0; d < D; ++d) x[d] -= mean[d];
        apart.push_back(mean_rotation(x, c.seen, o.future, o.rope_base));
    }
    Vector s;
    for (const std::int64_t j : over) {
        const float* const k = c.key(j, head / c.group());
        const auto product = [&](const Vector& x) {
            return std::inner_product(x.begin(), x.end(), k, 0.0, std::plus<>(),
                                      [](double a, float b) { return a * double{b}; });
        };
        double& x = s.emplace_back(product(future) / std::sqrt(dim));
        for (const Vector& a : apart) x += product(a) * product(a) / (2 * dim * count);
    }
    const double most = *std::max_element(s.begin(), s.end());
    double sum = 0;
    for (double& x : s) sum += x = std::exp(x - most);
    for (double& x : s) x /= sum;
    return s;
}

std::vector<Positions> expected_attention(const NaiveCache& c, const ExpectedAttentionOptions& o) {
    std::vector<Positions> kept = c.kept;
    for (std::int64_t g = 0; g < std::ssize(kept); ++g) {
        Positions &held = kept[NaiveCache::u(g)], first, rest;
        if (std::ssize(held) <= o.budget) continue;
        for (const std::int64_t j : held) (j < o.sink ? first : rest).push_back(j);
        Vector scores(rest.size());
        for (std::int64_t h = g * c.group(); h < (g + 1) * c.group(); ++h) {
            const Vector weights = expected_weights(c, h, rest, o);
            for (std::size_t i = 0; i < rest.size(); ++i) scores[i] += weights[i] / static_cast<double>(c.group());
        }
        for (std::size_t i = 0; i < rest.size() && o.value_norm; ++i)
            scores[i] = (scores[i] + double{o.epsilon}) * naive_norm(c.value(rest[i], g), c.x.sizes.Dv);
        held = c.together(c.top(scores, rest, o.budget - std::ssize(first)), first);
    }
    return kept;
}

[[maybe_unused]] const bool registered = [] {
    test_given_policy<ExpectedAttention, make, expected_attention>(
        "expected_attention",
        {{"plain", {.budget = 20, .sink = 2, .future = 24}},
         {"mean", {.budget = 13, .sink = 1, .future = 7, .covariance = false, .value_norm = false}},
         {"epsilon", {.budget = 17, .sink = 0, .future = 50, .epsilon = 0.02f, .rope_base = 100}}})
        .even_dim = true;
    return true;
}();

TEST(ExpectedAttention, RefusesWhatDoesNotFit) {
    const EvictionCase x({12, 8, 4, 2, 16, 16}, 1);
    auto q_pre = q_pre_of(x);
    const auto needs = [&](const ExpectedAttentionOptions& o) { ExpectedAttention(q_pre, o).needs({4, 2, 16, 16}); };
    const char* const f = "expected_attention";
    EXPECT_NO_THROW(needs({.budget = 8, .sink = 7}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 0}); }, {f, "budget", "0", "1"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 4, .sink = 5}); }, {f, "sink", "5", "4"}));
    EXPECT_TRUE(refuses([&] { needs({.budget = 9, .sink = 8}); }, {f, "q_pre", "8", "sink"}));
    EXPECT_TRUE(refuses([&] { needs({.future = 0}); }, {f, "future", "0", "1"}));
    EXPECT_TRUE(refuses([&] { needs({.epsilon = std::numeric_limits<float>::infinity()}); }, {f, "epsilon", "finite"}));
    EXPECT_TRUE(refuses([&] { needs({.rope_base = 0}); }, {f, "rope_base", "0.000000"}));
    EXPECT_TRUE(refuses([&] { ExpectedAttention(q_pre, {}).needs({4, 2, 15, 16}); }, {f, "15", "even"}));
    EXPECT_TRUE(refuses([&] { ExpectedAttention(q_pre, {}).needs({8, 2, 16, 16}); }, {f, "q_pre", "4", "8"}));
    EXPECT_TRUE(refuses([&] { ExpectedAttention(q_pre, {}).needs({4, 2, 18, 16}); }, {f, "q_pre", "16", "18"}));
    std::vector<float> bad(q_pre.data, q_pre.data + 4 * 8 * 16);
    bad[8 * 16] = std::numeric_limits<float>::quiet_NaN();
    q_pre.data = bad.data();
    EXPECT_TRUE(refuses([&] { needs({}); }, {f, "q_pre", "token 0", "head 1", "finite"}));
}

}  // namespace
}  // namespace attenta_test
