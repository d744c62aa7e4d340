#include <attenta/sparse/retrieval/infini_retrieval.hpp>

#include <set>

#include "sparse/support/case.hpp"
#include "sparse/support/naive.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"

namespace attenta_test {
namespace {

using attenta::InfiniRetrievalInputs, attenta::InfiniRetrievalOptions, attenta::InfiniRetrievalOutputs;

/// Σ_heads softmax rows of the question, [question, T].
std::vector<std::vector<double>> attention_map(View q, View k, const InfiniRetrievalOptions& o) {
    std::vector<std::vector<double>> map;
    const double scale = naive_scale(o.scale, q.dim);
    for (std::int64_t i = o.question[0]; i < o.question[1]; ++i) {
        auto& row = map.emplace_back(static_cast<std::size_t>(q.tokens));
        for (std::int64_t h = 0; h < q.heads; ++h) {
            std::vector<double> p;
            double top = minus_infinity, sum = 0;
            for (std::int64_t j = 0; j <= i; ++j)
                top = std::max(
                    top, p.emplace_back(scale * naive_dot(q.row(h, i), k.row(h / (q.heads / k.heads), j), q.dim)));
            for (double& s : p) sum += s = std::exp(s - top);
            for (std::size_t j = 0; j < p.size(); ++j) row[j] += p[j] / sum;
        }
    }
    return map;
}

std::vector<double> naive_scores(View q, View k, const InfiniRetrievalOptions& o) {
    std::vector<double> score;
    const auto map = attention_map(q, k, o);
    for (std::int64_t j = o.context[0]; j < o.context[1]; ++j) {
        double sum = 0;
        for (const auto& row : map) {
            double mass = 0, phrase = 0;
            for (std::int64_t m = o.question[0]; m < o.question[1]; ++m) mass += row[static_cast<std::size_t>(m)];
            for (std::int64_t m = j - o.phrase / 2; m <= j + (o.phrase - 1) / 2; ++m)
                if (m >= o.context[0] && m < o.context[1]) phrase += row[static_cast<std::size_t>(m)];
            sum += std::pow(mass, double{o.question_power}) * phrase;
        }
        score.push_back(sum);
    }
    return score;
}

struct Result {
    explicit Result(const InfiniRetrievalOptions& o) {
        const std::int64_t n = o.context[1] - o.context[0];
        score.resize(static_cast<std::size_t>(n));
        keep.assign(static_cast<std::size_t>(n), 7);
        index.assign(static_cast<std::size_t>(std::min(n, o.top_k)), 7);
    }
    InfiniRetrievalOutputs to() { return {score.data(), index.data(), keep.data()}; }

    std::vector<float> score;
    std::vector<std::int64_t> index, keep;
};

void expect_definition(View q, View k, const KvView& kv, const InfiniRetrievalOptions& o) {
    std::vector<std::int64_t> sentence;
    for (std::int64_t j = 0; j < o.context[1] - o.context[0]; ++j) sentence.push_back(100 - j * j / 50);
    const std::vector<double> want = naive_scores(q, k, o);
    const Keys chosen = best(want, o.top_k);
    std::set<std::int64_t> sentences;
    for (const std::int64_t j : chosen) sentences.insert(sentence[static_cast<std::size_t>(j)]);
    on_every_isa([&](Context& context) {
        Result got(o);
        attenta::infini_retrieval({q, kv, sentence}, got.to(), o, context);
        for (std::size_t j = 0; j < want.size(); ++j) {
            EXPECT_TRUE(Tolerance().holds(double{got.score[j]}, want[j])) << j << ": " << got.score[j];
            EXPECT_EQ(got.keep[j], static_cast<std::int64_t>(sentences.count(sentence[j]))) << j;
        }
        EXPECT_EQ(got.index, chosen);
    });
}

struct Chunk {
    Chunk(std::int64_t heads, std::int64_t kv_heads, std::int64_t tokens, std::int64_t dim, float gain = 1)
        : random(7),
          q(random_tensor(random, heads, tokens, dim, Order::token_head, 3, gain)),
          k(random_tensor(random, kv_heads, tokens, dim, Order::head_token, 5)) {}
    KvView kv() const { return KvView::of(View(k.view()), View(k.view())); }

    Random random;
    Tensor<float> q, k;
};

TEST(InfiniRetrieval, IsItsDefinition) {
    struct Case {
        std::int64_t heads, kv_heads, tokens, dim;
        InfiniRetrievalOptions options;
    };
    for (const Case& c : {
             Case{1, 1, 2, 8, {.context = {0, 1}, .question = {1, 2}, .phrase = 1, .top_k = 1}},
             Case{4, 2, 60, 16, {.context = {3, 41}, .question = {41, 52}, .phrase = 5, .top_k = 6}},
             Case{
                 4, 1, 60, 9, {.context = {0, 33}, .question = {36, 60}, .phrase = 4, .top_k = 4, .question_power = 2}},
             Case{2, 2, 60, 9, {.context = {1, 33}, .question = {36, 37}, .phrase = 500, .top_k = 300}},
             Case{3, 3, 400, 20, {.context = {7, 290}, .question = {300, 391}, .top_k = 20, .question_power = 0.5f}},
             Case{8, 2, 300, 20, {.context = {0, 200}, .question = {200, 300}, .question_power = -1, .scale = 0.4f}},
         }) {
        const Chunk x(c.heads, c.kv_heads, c.tokens, c.dim);
        expect_definition(x.q.view(), x.k.view(), x.kv(), c.options);
    }
}

TEST(InfiniRetrieval, ReadsPagesOfHalves) {
    const Chunk x(4, 2, 120, 16);
    const auto halves = converted<float>(converted<attenta::bfloat16>(x.k.view()).view());
    const PagedPool<attenta::bfloat16> pool({{halves.view(), halves.view()}}, 8, PageLayout::token_head);
    expect_definition(x.q.view(), halves.view(), pool.view(),
                      {.context = {10, 90}, .question = {95, 120}, .phrase = 3, .top_k = 9, .question_power = 1});
}

/// Rows that fall on one key: their scores are far apart.
TEST(InfiniRetrieval, HoldsForLargeScores) {
    const Chunk x(2, 1, 80, 16, 30.f);
    expect_definition(x.q.view(), x.k.view(), x.kv(),
                      {.context = {0, 60}, .question = {60, 80}, .phrase = 2, .top_k = 3, .question_power = 2});
}

/// What stands behind the question is not looked at.
TEST(InfiniRetrieval, IsCausal) {
    const Chunk x(2, 1, 80, 16);
    const InfiniRetrievalOptions o{.context = {0, 50}, .question = {50, 60}, .top_k = 5, .question_power = 1};
    const std::vector<std::int64_t> sentence(50);
    Result before(o), after(o);
    attenta::infini_retrieval({x.q.view(), x.kv(), sentence}, before.to(), o);
    for (std::int64_t j = 60; j < 80; ++j) std::fill_n(x.k.row(0, j), 16, std::nanf(""));
    attenta::infini_retrieval({x.q.view(), x.kv(), sentence}, after.to(), o);
    EXPECT_EQ(before.score, after.score);
}

TEST(InfiniRetrieval, WritesWhatIsWanted) {
    const Chunk x(2, 1, 20, 8);
    const InfiniRetrievalOptions o{.context = {0, 10}, .question = {10, 20}, .top_k = 2};
    Result all(o), some(o);
    const std::vector<std::int64_t> sentence = {0, 0, 1, 1, 1, 2, 3, 3, 3, 3};
    attenta::infini_retrieval({x.q.view(), x.kv(), sentence}, all.to(), o);
    attenta::infini_retrieval({x.q.view(), x.kv(), sentence}, {.keep = some.keep.data()}, o);
    EXPECT_EQ(all.keep, some.keep);
    EXPECT_EQ(some.index, Result(o).index);
}

TEST(InfiniRetrievalErrors, AreRefused) {
    const InfiniRetrievalOptions good{.context = {2, 10}, .question = {10, 20}, .top_k = 2};
    const auto refused = [&](std::initializer_list<std::string_view> words, auto&& spoil) {
        const Chunk x(4, 2, 20, 8);
        const std::vector<std::int64_t> sentence(8);
        InfiniRetrievalInputs in{x.q.view(), x.kv(), sentence};
        InfiniRetrievalOptions o = good;
        Result out(good);
        spoil(in, o, x);
        const auto result = refuses([&] { attenta::infini_retrieval(in, out.to(), o); }, words);
        EXPECT_EQ(out.index, Result(good).index);
        EXPECT_EQ(out.keep, Result(good).keep);
        return result;
    };
    EXPECT_TRUE(refused({"infini_retrieval", "phrase", "0", "1"}, [](auto&, auto& o, auto&) { o.phrase = 0; }));
    EXPECT_TRUE(refused({"infini_retrieval", "top_k", "0", "1"}, [](auto&, auto& o, auto&) { o.top_k = 0; }));
    for (const auto& [context, question] :
         std::vector<std::array<std::array<std::int64_t, 2>, 2>>{{{{-1, 7}, {10, 20}}},
                                                                 {{{2, 2}, {10, 20}}},
                                                                 {{{2, 11}, {10, 20}}},
                                                                 {{{2, 10}, {12, 12}}},
                                                                 {{{2, 10}, {10, 21}}},
                                                                 {{{12, 20}, {2, 12}}},
                                                                 {{{0, 0}, {0, 0}}}})
        EXPECT_TRUE(refused({"infini_retrieval", "context", "question", "20"}, [&](auto&, auto& o, auto&) {
            o.context = context;
            o.question = question;
        }));
    for (const float scale : {0.f, -1.f, std::nanf("")})
        EXPECT_TRUE(refused({"infini_retrieval", "scale"}, [&](auto&, auto& o, auto&) { o.scale = scale; }));
    EXPECT_TRUE(refused({"infini_retrieval", "question_power", "inf"},
                        [](auto&, auto& o, auto&) { o.question_power = std::numeric_limits<float>::infinity(); }));
    EXPECT_TRUE(refused({"infini_retrieval", "sentence", "7", "8"},
                        [](auto& in, auto&, auto&) { in.sentence = in.sentence.first(7); }));
    EXPECT_TRUE(refused({"infini_retrieval", "q", "19", "20"}, [](auto& in, auto&, auto&) { in.q.tokens = 19; }));
    EXPECT_TRUE(refused({"infini_retrieval", "q", "3", "2"}, [](auto& in, auto&, auto&) { in.q.heads = 3; }));
    EXPECT_TRUE(refused({"infini_retrieval", "k", "8", "7"}, [](auto& in, auto&, auto&) { in.q.dim = 7; }));
    EXPECT_TRUE(refused({"infini_retrieval", "q", "null"}, [](auto& in, auto&, auto&) { in.q.data = nullptr; }));
    EXPECT_TRUE(refused({"infini_retrieval", "k", "null"}, [](auto& in, auto&, auto&) { in.kv.k.data = nullptr; }));
    EXPECT_TRUE(refused({"infini_retrieval", "sequences"}, [](auto& in, auto&, auto&) { in.kv.sequences = 2; }));
    for (const bool key : {false, true})
        EXPECT_TRUE(refused({"infini_retrieval", key ? "k" : "q", "nan"}, [&](auto&, auto& o, const Chunk& x) {
            (key ? x.k : x.q).row(1, 19)[3] = std::nanf("");
            o.check_data = true;
        }));
}

}  // namespace
}  // namespace attenta_test
