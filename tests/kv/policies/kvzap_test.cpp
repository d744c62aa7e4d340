#include <attenta/kv/policies/kvzap.hpp>

#include <limits>

#include "kv/support/given.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::Kvzap, attenta::KvzapDecode, attenta::KvzapInputs, attenta::KvzapOptions;

/// score [T, Hkv]
std::span<const float> score_of(const EvictionCase& x) { return given_numbers(x, x.sizes.T * x.sizes.Hkv); }

auto make(const EvictionCase& x, const KvzapOptions& o) {
    return std::make_unique<Kvzap>(attenta::nhd(score_of(x).data(), x.sizes.T, x.sizes.Hkv, 1), o);
}

/// Tokens below the threshold go once they are behind the last `window` ones.
std::vector<Positions> kvzap(const NaiveCache& c, const KvzapOptions& o) {
    std::vector<Positions> kept = c.kept;
    if (o.decode == KvzapDecode::grow && c.seen > c.prompt()) return kept;
    const auto score = score_of(c.x);
    for (std::int64_t g = 0; g < std::ssize(kept); ++g)
        std::erase_if(kept[NaiveCache::u(g)], [&](std::int64_t j) {
            const double s = score[NaiveCache::u(j * c.x.sizes.Hkv + g)];
            c.note(s, double{*o.threshold}, 1e-6);
            return s < double{*o.threshold} && j < c.seen - o.window;
        });
    return kept;
}

[[maybe_unused]] const auto& policy = test_given_policy<Kvzap, make, kvzap>(
    "kvzap", {{"window", {.threshold = 0.1f, .window = 8}},
              {"no window", {.threshold = -0.3f, .window = 0}},
              {"grow", {.threshold = 0.5f, .window = 5, .decode = KvzapDecode::grow}},
              {"nothing but the window", {.threshold = 100.f, .window = 3}}});

/// x·w + b of a token, x [in], w [in, out].
std::vector<double> layer(const std::vector<double>& x, const std::vector<float>& w, const std::vector<float>& b) {
    std::vector<double> y(b.begin(), b.end());
    for (std::size_t i = 0; i < x.size(); ++i)
        for (std::size_t c = 0; c < y.size(); ++c) y[c] += x[i] * double{w[i * y.size() + c]};
    return y;
}

TEST(Kvzap, ScoresAreThoseOfTheNet) {
    constexpr std::int64_t T = 5, E = 7, F = 6, H = 3;
    Random random(3);
    const auto hidden = random.normals(T * E), w1 = random.normals(E * F), b1 = random.normals(F),
               w2 = random.normals(F * H), b2 = random.normals(H);
    KvzapInputs x{.hidden = {hidden.data(), 1, T, E}, .w1 = {w1.data(), 1, E, F}, .w2 = {}, .b1 = b1, .b2 = {}};
    const std::vector<float> one = attenta::kvzap_scores(x);
    x.w2 = {w2.data(), 1, F, H};
    x.b2 = b2;
    const std::vector<float> two = attenta::kvzap_scores(x);
    ASSERT_EQ(std::ssize(one), T * F);
    ASSERT_EQ(std::ssize(two), T * H);
    for (std::size_t t = 0; t < T; ++t) {
        std::vector<double> y(hidden.begin() + static_cast<std::ptrdiff_t>(t * E),
                              hidden.begin() + static_cast<std::ptrdiff_t>((t + 1) * E));
        y = layer(y, w1, b1);
        for (std::size_t c = 0; c < F; ++c) EXPECT_NEAR(one[t * F + c], y[c], 1e-5);
        for (double& n : y) n = 0.5 * n * (1 + std::erf(n / std::sqrt(2.0)));
        y = layer(y, w2, b2);
        for (std::size_t c = 0; c < H; ++c) EXPECT_NEAR(two[t * H + c], y[c], 1e-5);
    }
}

TEST(Kvzap, NetsThatDoNotFitAreRefused) {
    const std::vector<float> some(64);
    const attenta::Matrices<const float> hidden{some.data(), 1, 5, 4}, w1{some.data(), 1, 4, 3},
        w2{some.data(), 1, 3, 2};
    const auto vector = [&](std::size_t n) { return std::span(some).first(n); };
    const auto scores = [&](const KvzapInputs& x) { return [&x] { attenta::kvzap_scores(x); }; };
    EXPECT_NO_THROW(attenta::kvzap_scores({hidden, w1, w2, vector(3), vector(2)}));
    EXPECT_TRUE(refuses(scores({hidden, w1, w2, vector(4), vector(2)}), {"kvzap", "b1", "4", "3"}));
    EXPECT_TRUE(refuses(scores({hidden, w2, {}, vector(2), {}}), {"kvzap", "w1", "3", "4"}));
    EXPECT_TRUE(refuses(scores({hidden, w1, w1, vector(3), vector(3)}), {"kvzap", "w2", "4", "3"}));
    EXPECT_TRUE(refuses(scores({hidden, w1, w2, vector(3), vector(3)}), {"kvzap", "b2", "3", "2"}));
    EXPECT_TRUE(refuses(scores({hidden, w1, w2, vector(3), {}}), {"kvzap", "w2", "b2"}));
    EXPECT_TRUE(refuses(scores({hidden, w1, {}, vector(3), vector(2)}), {"kvzap", "w2", "b2"}));
    EXPECT_TRUE(refuses(scores({{}, w1, {}, vector(3), {}}), {"kvzap", "hidden"}));
}

TEST(Kvzap, RefusesWhatDoesNotFit) {
    std::vector<float> score(12);
    const auto needs = [&](const KvzapOptions& o, std::int64_t heads = 2) {
        Kvzap(attenta::nhd<const float>(score.data(), 12 / heads, heads, 1), o).needs({4, 2, 16, 16});
    };
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_NO_THROW(needs({.threshold = -4.f}));
    EXPECT_TRUE(refuses([&] { needs({}); }, {"kvzap", "threshold", "not given"}));
    EXPECT_TRUE(refuses([&] { needs({.threshold = nan}); }, {"kvzap", "threshold", "nan"}));
    EXPECT_TRUE(refuses([&] { needs({.threshold = 0.f, .window = -1}); }, {"kvzap", "window", "-1", "0"}));
    EXPECT_TRUE(refuses([&] { needs({.threshold = 0.f}, 3); }, {"kvzap", "score", "3", "2"}));
    score[2] = nan;
    EXPECT_TRUE(refuses([&] { needs({.threshold = 0.f}); }, {"kvzap", "score", "token 1", "head 0", "finite"}));
}

}  // namespace
}  // namespace attenta_test
