// CLOVER: factorised weights give the cut products of the definition; its own errors.
#include <attenta/lowrank/clover.hpp>

#include <array>

#include "lowrank/support/eigen.hpp"

namespace attenta_test {
namespace {

using attenta::clover, attenta::clover_factorise, attenta::CloverInputs, attenta::CloverRanks, attenta::CloverWeights;

/// [x, bias]: one column more where there is one.
Mat joined(const Mat& x, const Mat* column) {
    Mat y(x.rows(), x.cols() + (column ? 1 : 0));
    for (std::int64_t r = 0; r < x.rows(); ++r) {
        for (std::int64_t c = 0; c < x.cols(); ++c) y(r, c) = x(r, c);
        if (column) y(r, x.cols()) = (*column)(r, 0);
    }
    return y;
}

/// What one side of a merged product has: tokens and weight, with the bias where there is one.
struct Side {
    Mat x, weight;

    Side(const Mat& tokens, const View& w, const View& bias, std::int64_t h) : x(tokens), weight(w, h) {
        if (!bias.data) return;
        const Mat b = Mat(bias, h).transposed(), ones = Mat(tokens.rows(), 1).map([](double) { return 1.0; });
        x = joined(tokens, &ones);
        weight = joined(weight, &b);
    }
};

/// U_r U_rᵀ M, the best matrix of rank r; all singular values to `singular`.
Mat cut(const Mat& m, std::int64_t r, std::vector<double>& singular) {
    const EigenPairs e = eigen_pairs(m * m.transposed());
    for (const double x : e.values) singular.push_back(std::sqrt(std::max(x, 0.0)));
    const Mat u = e.vectors.columns(r);
    return u * u.transposed() * m;
}

struct NaiveClover {
    Mat y;
    std::vector<std::vector<double>> qk, vo;
};

/// y = bo + Σ_h softmax(scale x̃ M_h x̃ᵀ) x̃ N_h
NaiveClover naive_clover(const CloverInputs& in, std::int64_t rank_qk, std::int64_t rank_vo, double scale,
                         bool causal) {
    const Mat x(View{in.x.data, 1, in.x.rows, in.x.cols, 0, in.x.row_stride}, 0);
    NaiveClover result{Mat(x.rows(), in.wo.tokens), {}, {}};
    for (std::int64_t h = 0; h < in.wq.heads; ++h) {
        const Side q(x, in.wq, in.bq, h), k(x, in.wk, in.bk, h), v(x, in.wv, in.bv, h);
        result.qk.emplace_back(), result.vo.emplace_back();
        const Mat m = cut(q.weight.transposed() * k.weight, rank_qk, result.qk.back()),
                  n = cut(v.weight.transposed() * Mat(in.wo, h).transposed(), rank_vo, result.vo.back());
        result.y = result.y + softmax_rows(scale * q.x * m * k.x.transposed(), causal) * (v.x * n);
    }
    for (std::int64_t t = 0; t < x.rows() && !in.bo.empty(); ++t)
        for (std::int64_t e = 0; e < in.wo.tokens; ++e) result.y(t, e) += double{in.bo[static_cast<std::size_t>(e)]};
    return result;
}

struct Case {
    std::int64_t T, E, H, D, Dv, O, rank_qk, rank_vo;
    bool bias;
};

struct Drawn {
    Tensor<float> x, wq, wk, wv, wo, bq, bk, bv;
    std::vector<float> bo;

    explicit Drawn(const Case& c) {
        Random random(37);
        const float gain = 1 / std::sqrt(static_cast<float>(c.E));
        x = random_tensor(random, 1, c.T, c.E, Order::head_token, 2, 1.5f);
        wq = random_tensor(random, c.H, c.D, c.E, Order::token_head, 1, gain);
        wk = random_tensor(random, c.H, c.D, c.E, Order::head_token, 3, gain);
        wv = random_tensor(random, c.H, c.Dv, c.E, Order::head_token, 0, gain);
        wo = random_tensor(random, c.H, c.O, c.Dv, Order::token_head, 1, gain);
        if (!c.bias) return;
        bq = random_tensor(random, c.H, 1, c.D, Order::head_token, 1, 0.3f);
        bv = random_tensor(random, c.H, 1, c.Dv, Order::head_token, 1, 0.3f);
        bo = random.normals(c.O);
    }
    CloverInputs inputs() const {
        const View& v = x.view();
        return {{v.data, 1, v.tokens, v.dim, v.token_stride},
                wq.view(),
                wk.view(),
                wv.view(),
                wo.view(),
                bq.view(),
                {},
                bv.view(),
                bo};
    }
};

std::vector<Case> cases() {
    return {{1, 1, 1, 1, 1, 1, 1, 1, true}, {21, 20, 3, 8, 7, 20, 5, 4, true},  {26, 17, 2, 6, 6, 13, 6, 6, false},
            {9, 5, 2, 8, 7, 3, 4, 3, true}, {33, 40, 4, 12, 9, 40, 3, 5, true}, {70, 24, 2, 10, 10, 24, 1, 1, false}};
}

TEST(Clover, FactorisedWeightsGiveTheCutProducts) {
    for (const Case& c : cases())
        for (const bool causal : {false, true}) {
            SCOPED_TRACE(testing::Message()
                         << "T " << c.T << " E " << c.E << " ranks " << c.rank_qk << " " << c.rank_vo);
            const Drawn d(c);
            const NaiveClover want = naive_clover(d.inputs(), c.rank_qk, c.rank_vo, double{default_scale(c.D)}, causal);
            CloverRanks ranks;
            ranks.rank_qk = c.rank_qk, ranks.rank_vo = c.rank_vo;
            const CloverWeights weights = clover_factorise(d.inputs(), ranks);
            EXPECT_FLOAT_EQ(weights.scale, default_scale(c.D));
            const auto singular = [&](const std::vector<double>& all, std::int64_t size, const auto& naive) {
                ASSERT_EQ(std::ssize(all), c.H * size);
                for (std::size_t i = 0; i < all.size(); ++i) {
                    const auto& of_head = naive[i / static_cast<std::size_t>(size)];
                    const std::size_t n = i % static_cast<std::size_t>(size);
                    EXPECT_NEAR(all[i], n < of_head.size() ? of_head[n] : 0.0, 1e-6);
                }
            };
            singular(weights.qk_singular, c.D, want.qk);
            singular(weights.vo_singular, c.Dv, want.vo);
            expect_heads({want.y}, [&](attenta::Heads<float> o, Context& context) {
                clover(weights.on(d.inputs().x), {o.data, 1, o.tokens, o.dim, o.token_stride},
                       {.causal = causal, .scale = weights.scale}, context);
            });
        }
}

/// At full rank, which is the default, nothing is lost; singular values are the products of the norms of the rows.
TEST(Clover, FullRankIsTheModel) {
    for (const Case& c : cases()) {
        const Drawn d(c);
        const CloverWeights weights = clover_factorise(d.inputs());
        EXPECT_EQ(weights.rank_qk, c.D);
        std::vector<float> before(static_cast<std::size_t>(c.T * c.O)), after(before.size());
        const attenta::CloverOptions options{.causal = true, .scale = weights.scale};
        clover(d.inputs(), {before.data(), 1, c.T, c.O}, options);
        clover(weights.on(d.inputs().x), {after.data(), 1, c.T, c.O}, options);
        for (std::size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(before[i], after[i], 2e-5);
        if (c.bias) continue;
        const auto norm = [&](const std::vector<float>& w, std::int64_t row) {
            double squares = 0;
            for (std::int64_t e = 0; e < c.E; ++e) squares += std::pow(double{w.data()[row * c.E + e]}, 2);
            return std::sqrt(squares);
        };
        for (std::int64_t r = 0; r < c.H * c.D; ++r)
            EXPECT_NEAR(norm(weights.wq, r) * norm(weights.wk, r), weights.qk_singular[static_cast<std::size_t>(r)],
                        1e-5);
    }
}

TEST(CloverErrors, SaysWhatDoesNotFit) {
    const Drawn d({9, 12, 2, 6, 5, 7, 3, 3, true});
    using X = CloverInputs;
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        X x = d.inputs();
        change(x);
        return refuses_to_write(
            {nullptr, 1, 9, 7, 0, 0},
            [&](attenta::Heads<float> to) {
                clover(x, {to.data, 1, to.tokens, to.dim}, {.scale = 1.f});
            },
            words);
    };
    EXPECT_TRUE(refused([](X& x) { x.wk.tokens = 5; }, {"clover", "wk", "5", "6"}));
    EXPECT_TRUE(refused([](X& x) { x.wk.heads = 1; }, {"clover", "wk", "1", "2"}));
    EXPECT_TRUE(refused([](X& x) { x.wo.dim = 4; }, {"clover", "wo", "4", "5"}));
    EXPECT_TRUE(refused([](X& x) { x.bq.dim = 5; }, {"clover", "bq", "5", "6"}));
    EXPECT_TRUE(refused([](X& x) { x.bo = x.bo.first(6); }, {"clover", "bo", "6", "7"}));
    EXPECT_TRUE(refused([](X& x) { x.x.cols = 11; }, {"clover", "11", "12"}));
    EXPECT_TRUE(refused([](X& x) { x.x.rows = 0; }, {"clover", "x", "0"}));
    std::vector<float> o(9 * 7);
    EXPECT_TRUE(refuses([&] { clover(d.inputs(), {o.data(), 1, 9, 7}, {}); }, {"clover", "scale"}));
    EXPECT_TRUE(refuses([&] { clover(d.inputs(), {o.data(), 1, 9, 6}, {.scale = 1.f}); }, {"clover", "o", "6", "7"}));
    EXPECT_TRUE(refuses([&] { clover(d.inputs(), {d.x.view().data, 1, 9, 7, 14}, {.scale = 1.f}); }, {"clover", "x"}));
}

TEST(CloverErrors, Factorising) {
    const Drawn d({9, 12, 2, 6, 5, 7, 3, 3, true});
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        CloverInputs x = d.inputs();
        CloverRanks ranks;
        change(x, ranks);
        return refuses([&] { clover_factorise(x, ranks); }, words);
    };
    using X = CloverInputs;
    using R = CloverRanks;
    EXPECT_TRUE(refused([](X&, R& r) { r.rank_qk = 0; }, {"clover_factorise", "rank_qk", "0", "6"}));
    EXPECT_TRUE(refused([](X&, R& r) { r.rank_qk = 7; }, {"clover_factorise", "rank_qk", "7", "6"}));
    EXPECT_TRUE(refused([](X&, R& r) { r.rank_vo = 6; }, {"clover_factorise", "rank_vo", "6", "5"}));
    EXPECT_TRUE(refused([](X& x, R&) { x.wk.heads = 1; }, {"clover_factorise", "wk", "1", "2"}));
    EXPECT_TRUE(refused([](X& x, R&) { x.wv.data = nullptr; }, {"clover_factorise", "wv", "null"}));
    d.wo.row(1, 2)[0] = std::nanf("");
    EXPECT_TRUE(refused([](X&, R&) {}, {"clover_factorise", "wo", "2"}));
}

}  // namespace
}  // namespace attenta_test
