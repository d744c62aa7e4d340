// The components of keys, the rank rule, and attention by leading components equal their definitions; their own errors.
#include <attenta/lowrank/lowrank_keys.hpp>
#include <attenta/softmax/softmax.hpp>

#include "lowrank/support/eigen.hpp"

namespace attenta_test {
namespace {

using attenta::key_basis, attenta::KeyBasis, attenta::KeyRotary, attenta::LowRankKeysInputs, attenta::lowrank_keys;
using attenta::LowRankKeysOptions, attenta::LowRankKeysOutputs;

/// Rotated by position, channel d with channel d + D/2.
Mat rotated(const Mat& x, double base) {
    Mat y = x;
    const std::int64_t half = x.cols() / 2;
    for (std::int64_t t = 0; t < x.rows(); ++t)
        for (std::int64_t d = 0; d < half; ++d) {
            const double angle =
                static_cast<double>(t) * std::pow(base, -2.0 * static_cast<double>(d) / static_cast<double>(x.cols()));
            y(t, d) = x(t, d) * std::cos(angle) - x(t, d + half) * std::sin(angle);
            y(t, d + half) = x(t, d + half) * std::cos(angle) + x(t, d) * std::sin(angle);
        }
    return y;
}

/// Eigenvectors of the covariance.
EigenPairs components(Mat c) {
    for (std::int64_t d = 0; d < c.cols(); ++d) {
        double mean = 0;
        for (std::int64_t t = 0; t < c.rows(); ++t) mean += c(t, d) / static_cast<double>(c.rows());
        for (std::int64_t t = 0; t < c.rows(); ++t) c(t, d) -= mean;
    }
    return eigen_pairs(1.0 / static_cast<double>(c.rows() - 1) * c.transposed() * c);
}

struct Drawn {
    Tensor<float> q, k, v, calibration;
    KeyBasis basis;

    Drawn(std::int64_t Hq, std::int64_t Hkv, std::int64_t Tq, std::int64_t Tk, std::int64_t D, std::int64_t Dv) {
        Random random(19);
        q = random_tensor(random, Hq, Tq, D, Order::token_head, 2, 2);
        k = random_tensor(random, Hkv, Tk, D, Order::token_head, 1);
        v = random_tensor(random, Hkv, Tk, Dv, Order::head_token, 5);
        calibration = skewed_tensor(random, Hkv, 4 * D + 3, D, 0.8, Order::token_head, 1);
        basis = key_basis(calibration.view());
    }
    LowRankKeysInputs inputs() const { return {q.view(), k.view(), v.view(), &basis}; }
};

TEST(LowRankKeysAttention, EqualsItsDefinition) {
    for (const auto& [Hq, Hkv, Tq, Tk, D, Dv] : {std::array<std::int64_t, 6>{1, 1, 1, 1, 1, 1},
                                                 {2, 2, 3, 5, 7, 1},
                                                 {4, 2, 17, 31, 10, 6},
                                                 {6, 1, 1, 130, 24, 33},
                                                 {2, 2, 70, 70, 33, 40}})
        for (const bool causal : {false, true})
            for (const std::int64_t rank : {std::int64_t{1}, (D + 1) / 2, D}) {
                SCOPED_TRACE(testing::Message() << "Tq " << Tq << " Tk " << Tk << " D " << D << " rank " << rank);
                const Drawn d(Hq, Hkv, Tq, Tk, D, Dv);
                std::vector<Mat> want, want_lse, want_scores;
                for (std::int64_t h = 0; h < Hq; ++h) {
                    const std::int64_t g = h / (Hq / Hkv);
                    const Mat p = components(Mat(d.calibration.view(), g)).vectors.columns(rank);
                    const Mat s =
                        double{default_scale(D)} * (Mat(d.q.view(), h) * p) * (Mat(d.k.view(), g) * p).transposed();
                    Mat lse(Tq, 1);
                    want.push_back(softmax_rows(s, causal, &lse) * Mat(d.v.view(), g));
                    want_lse.push_back(lse);
                    want_scores.push_back(s);
                }
                expect_heads(want, [&](attenta::Heads<float> o, Context& context) {
                    std::vector<float> lse(static_cast<std::size_t>(Hq * Tq)),
                        scores(static_cast<std::size_t>(Hq * Tq * Tk));
                    LowRankKeysOptions options;
                    options.rank = rank, options.causal = causal;
                    lowrank_keys(d.inputs(), {o, lse.data(), scores.data()}, options, context);
                    for (std::int64_t h = 0; h < Hq; ++h) {
                        const auto n = static_cast<std::size_t>(h);
                        EXPECT_TRUE(is_close(lse.data() + h * Tq, 1, want_lse[n]));
                        EXPECT_TRUE(is_close(scores.data() + h * Tq * Tk, Tk, want_scores[n]));
                    }
                });
            }
}

TEST(KeyBasis, ComponentsOfKeysBeforeAndAfterRotation) {
    Random random(23);
    const Tensor<float> keys = skewed_tensor(random, 2, 50, 8, 0.6, Order::token_head, 3);
    for (const KeyRotary rotary : {KeyRotary::pre, KeyRotary::post}) {
        const KeyBasis basis = key_basis(keys.view(), {rotary, 100});
        std::vector<float> projector;
        for (std::int64_t h = 0; h < 2; ++h) {
            const Mat c(keys.view(), h);
            const EigenPairs want = components(rotary == KeyRotary::post ? rotated(c, 100) : c);
            double sum = 0;
            for (const double x : want.values) sum += x;
            for (std::size_t i = 0; i < 8; ++i)
                EXPECT_NEAR(basis.explained_variance_ratio[static_cast<std::size_t>(h) * 8 + i], want.values[i] / sum,
                            1e-12);
            for (const std::int64_t r : {1, 3, 8}) {
                const attenta::Heads<float> to = heads_of(projector, 2, 8, 8);
                basis.projector(r, to);
                const Mat p = want.vectors.columns(r);
                EXPECT_TRUE(is_close(to.row(h, 0), 8, p * p.transposed(), {1e-6, 0}));
            }
        }
    }
}

/// The most components over the heads whose shares together stay below; one at least.
TEST(KeyBasis, RankRule) {
    KeyBasis basis;
    basis.heads = 2, basis.dim = 4;
    basis.explained_variance_ratio = {0.7, 0.2, 0.06, 0.04, 0.4, 0.3, 0.2, 0.1};
    EXPECT_EQ(basis.rank(0.3), 1);
    EXPECT_EQ(basis.rank(0.65), 1);
    EXPECT_EQ(basis.rank(0.8), 2);
    EXPECT_EQ(basis.rank(0.95), 3);
    for (const double bad : {0.0, 1.0, -0.5, std::nan("")})
        EXPECT_TRUE(refuses([&] { basis.rank(bad); }, {"KeyBasis", "variance"}));
}

/// Keys that a cache keeps as k P score as keys do.
TEST(KeyBasis, ProjectedKeysScoreExactly) {
    const Drawn d(4, 2, 5, 40, 16, 8);
    std::vector<float> q, k;
    const attenta::Heads<float> low_q = heads_of(q, 4, 5, 16), low_k = heads_of(k, 2, 40, 16);
    d.basis.project(d.q.view(), low_q);
    d.basis.project(d.k.view(), low_k);
    Output got(4, 5, 8), want(4, 5, 8);
    attenta::softmax_attention(low_q, View(low_k), View(d.v.view()), got.o.view(), {}, got.lse.data());
    attenta::softmax_attention(d.q.view(), View(d.k.view()), View(d.v.view()), want.o.view(), {}, want.lse.data());
    EXPECT_LE(distance(got, want), 1e-5);
}

TEST(LowRankKeysErrors, SaysWhatDoesNotFit) {
    const Drawn d(4, 2, 5, 12, 8, 6), other(4, 2, 5, 12, 7, 6), one(4, 1, 5, 12, 8, 6);
    const View sizes{nullptr, 4, 5, 6, 0, 0};
    using X = LowRankKeysInputs;
    using O = LowRankKeysOptions;
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        X x = d.inputs();
        O options;
        options.rank = 3;
        change(x, options);
        return refuses_to_write(
            sizes, [&](attenta::Heads<float> to) { lowrank_keys(x, {to}, options); }, words);
    };
    EXPECT_TRUE(refused([](X&, O& o) { o.rank = 0; }, {"lowrank_keys", "rank", "0", "8"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.rank = 9; }, {"lowrank_keys", "rank", "9", "8"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.rank.reset(); }, {"lowrank_keys", "rank", "variance", "one"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.variance = 0.5; }, {"lowrank_keys", "rank", "variance", "one"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.rank.reset(), o.variance = 1; }, {"lowrank_keys", "variance", "1"}));
    EXPECT_TRUE(refused([](X& x, O& o) { x.k.tokens = x.v.tokens = 4, o.causal = true; }, {"lowrank_keys", "5", "4"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.basis = nullptr; }, {"lowrank_keys", "basis", "null"}));
    EXPECT_TRUE(refused([&](X& x, O&) { x.basis = &other.basis; }, {"lowrank_keys", "basis", "7", "8"}));
    EXPECT_TRUE(refused([&](X& x, O&) { x.basis = &one.basis; }, {"lowrank_keys", "basis", "1", "2"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.q.heads = 3; }, {"lowrank_keys", "q", "3", "2"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.v.tokens = 11; }, {"lowrank_keys", "v", "11", "12"}));
    std::vector<float> shared(4 * 5 * 12);
    EXPECT_TRUE(refuses(
        [&] {
            lowrank_keys(d.inputs(), {attenta::hnd(shared.data(), 4, 5, 6), nullptr, shared.data()}, {.rank = 2});
        },
        {"lowrank_keys", "scores", "o"}));
}

TEST(LowRankKeysErrors, Calibration) {
    Random random(29);
    const Tensor<float> keys = random_tensor(random, 2, 9, 7);
    View bad = keys.view();
    bad.tokens = 1;
    EXPECT_TRUE(refuses([&] { key_basis(bad); }, {"key_basis", "calibration", "1", "2"}));
    EXPECT_TRUE(refuses([&] { key_basis(keys.view(), {.rotary = KeyRotary::post}); }, {"key_basis", "7", "even"}));
    EXPECT_TRUE(refuses([&] { key_basis(keys.view(), {.rope_base = 0}); }, {"key_basis", "rope_base", "0"}));
    bad = keys.view();
    bad.token_stride = 0;
    EXPECT_TRUE(refuses([&] { key_basis(bad); }, {"key_basis", "variance"}));
    keys.row(1, 2)[3] = std::nanf("");
    EXPECT_TRUE(refuses([&] { key_basis(keys.view()); }, {"key_basis", "calibration", "2", "1"}));
    EXPECT_TRUE(refuses([&] { key_basis({}); }, {"key_basis", "calibration"}));
}

}  // namespace
}  // namespace attenta_test
