#include <attenta/kv/retrieval_score.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"

namespace attenta_test {
namespace {

using attenta::RetrievalScoreInputs, attenta::RetrievalScoreOptions;

/// q [T, Hq, D], k [T, Hkv, D] and tokens, whose decoded part repeats the needle; heads look there more or less well.
struct Text {
    std::int64_t T, Hq, Hkv, D;
    RetrievalScoreOptions options;
    std::vector<float> q, k;
    std::vector<std::int64_t> tokens;

    Text(std::int64_t its_T, std::int64_t its_Hq, std::int64_t its_Hkv, std::int64_t its_D,
         const RetrievalScoreOptions& its_options)
        : T(its_T), Hq(its_Hq), Hkv(its_Hkv), D(its_D), options(its_options) {
        Random random(9);
        q = random.normals(T * Hq * D);
        k = random.normals(T * Hkv * D);
        const auto [first, end] = options.needle;
        for (std::int64_t t = 0; t < T; ++t) tokens.push_back(random.integer(0, 9));
        for (std::int64_t i = options.prompt - 1; i + 1 < T; ++i) {
            const std::int64_t j = first + (i - options.prompt + 1) % (end - first);
            if (random.chance(0.8)) tokens[at(i + 1)] = tokens[at(j)];
            for (std::int64_t h = 0; h < Hq; ++h)
                for (std::int64_t c = 0; c < D; ++c)
                    q[at((i * Hq + h) * D + c)] +=
                        0.7f * static_cast<float>(h) * k[at((j * Hkv + h * Hkv / Hq) * D + c)];
        }
    }
    static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
    RetrievalScoreInputs inputs() const {
        return {attenta::nhd(q.data(), T, Hq, D), attenta::nhd(k.data(), T, Hkv, D), tokens};
    }

    /// [2][Hq]: score, score_set
    std::vector<std::vector<double>> expected() const {
        const auto [first, end] = options.needle;
        const std::set<std::int64_t> needle(tokens.begin() + first, tokens.begin() + end);
        std::vector<std::vector<double>> scores(2);
        for (std::int64_t h = 0; h < Hq; ++h) {
            double steps = 0;
            std::set<std::int64_t> copied;
            for (std::int64_t i = options.prompt - 1; i + 1 < T; ++i) {
                std::vector<double> s;
                for (std::int64_t j = 0; j <= i; ++j) {
                    double& product = s.emplace_back();
                    for (std::int64_t c = 0; c < D; ++c)
                        product +=
                            double{q[at((i * Hq + h) * D + c)]} * double{k[at((j * Hkv + h * Hkv / Hq) * D + c)]};
                }
                std::vector<std::int64_t> order(s.size());
                std::iota(order.begin(), order.end(), std::int64_t{0});
                std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
                    return s[at(a)] != s[at(b)] ? s[at(a)] > s[at(b)] : a > b;
                });
                order.resize(std::min(order.size(), at(options.topk)));
                if (std::any_of(order.begin(), order.end(), [&, from = first, to = end](std::int64_t j) {
                        return j >= from && j < to && tokens[at(j)] == tokens[at(i + 1)];
                    })) {
                    ++steps;
                    copied.insert(tokens[at(i + 1)]);
                }
            }
            scores[0].push_back(steps / static_cast<double>(end - first));
            scores[1].push_back(static_cast<double>(copied.size()) / static_cast<double>(needle.size()));
        }
        return scores;
    }
};

TEST(RetrievalScore, IsWhatTheDefinitionCounts) {
    for (const Text& text :
         {Text(53, 4, 2, 12, {.prompt = 40, .needle = {11, 18}}),
          Text(45, 3, 3, 9, {.prompt = 31, .needle = {3, 9}, .topk = 3}),
          Text(37, 6, 1, 17, {.prompt = 26, .needle = {20, 30}, .topk = 50}),
          Text(700, 2, 1, 8, {.prompt = 1, .needle = {0, 2}}), Text(5, 1, 1, 4, {.prompt = 5, .needle = {4, 5}})}) {
        SCOPED_TRACE(text.T);
        const auto want = text.expected();
        on_every_isa([&](attenta::Context& context) {
            std::vector<float> score(want[0].size(), -1.f), set(want[1].size(), -1.f);
            attenta::retrieval_score(text.inputs(), {score.data(), set.data()}, text.options, context);
            for (std::size_t h = 0; h < score.size(); ++h) {
                EXPECT_NEAR(score[h], want[0][h], 1e-6) << "head " << h;
                EXPECT_NEAR(set[h], want[1][h], 1e-6) << "head " << h;
            }
        });
    }
}

TEST(RetrievalScore, NanCopiesNothing) {
    Text text(20, 2, 2, 8, {.prompt = 10, .needle = {2, 6}});
    const auto before = text.expected();
    for (std::int64_t t = 0; t < text.T; ++t) text.q[Text::at(t * 16)] = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> score(2);
    attenta::retrieval_score(text.inputs(), {score.data()}, text.options);
    EXPECT_EQ(score[0], 0.f);
    EXPECT_NEAR(score[1], before[0][1], 1e-6) << "NaN stays in its head";
}

TEST(RetrievalScore, RefusesWhatDoesNotFit) {
    const Text text(20, 4, 2, 8, {.prompt = 10, .needle = {2, 6}});
    std::vector<float> score(4, -1.f);
    const auto run = [&](const RetrievalScoreOptions& o) {
        attenta::retrieval_score(text.inputs(), {score.data()}, o);
    };
    const char* const f = "retrieval_score";
    EXPECT_TRUE(refuses([&] { run({.prompt = 0, .needle = {2, 6}}); }, {f, "prompt", "0", "20"}));
    EXPECT_TRUE(refuses([&] { run({.prompt = 21, .needle = {2, 6}}); }, {f, "prompt", "21", "20"}));
    EXPECT_TRUE(refuses([&] { run({.needle = {6, 6}}); }, {f, "needle", "6", "20"}));
    EXPECT_TRUE(refuses([&] { run({.needle = {-1, 6}}); }, {f, "needle", "-1", "20"}));
    EXPECT_TRUE(refuses([&] { run({.needle = {2, 21}}); }, {f, "needle", "21", "20"}));
    EXPECT_TRUE(refuses([&] { run({.needle = {2, 6}, .topk = 0}); }, {f, "topk", "0", "1"}));
    EXPECT_TRUE(refuses([&] { run({.scale = std::numeric_limits<float>::infinity()}); }, {f, "scale", "finite"}));
    RetrievalScoreInputs x = text.inputs();
    x.tokens = x.tokens.first(19);
    EXPECT_TRUE(refuses([&] { attenta::retrieval_score(x, {score.data()}, text.options); }, {f, "tokens", "19", "20"}));
    EXPECT_TRUE(refuses([&] { attenta::retrieval_score(text.inputs(), {}, text.options); }, {f, "score", "4"}));
    EXPECT_EQ(score, std::vector<float>(4, -1.f)) << "nothing is written";
}

}  // namespace
}  // namespace attenta_test
