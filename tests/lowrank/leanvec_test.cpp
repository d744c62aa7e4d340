// The fits of LeanVec and its search equal their definitions; their own errors.
#include <attenta/lowrank/leanvec.hpp>

#include <array>
#include <limits>

#include "lowrank/support/eigen.hpp"

namespace attenta_test {
namespace {

using attenta::leanvec, attenta::Leanvec, attenta::leanvec_fit, attenta::LeanvecFitOptions, attenta::LeanvecInputs;
using attenta::LeanvecMethod, attenta::LeanvecOptions;

struct Projections {
    Mat a, b;
};

/// U Vᵀ = Y (Yᵀ Y)^(−1/2)
Mat polar(const Mat& y) {
    const EigenPairs e = eigen_pairs(y.transposed() * y);
    Mat root(y.cols(), y.cols());
    for (std::int64_t i = 0; i < y.cols(); ++i) root(i, i) = 1 / std::sqrt(e.values[static_cast<std::size_t>(i)]);
    return y * e.vectors * root * e.vectors.transposed();
}

double trace(const Mat& m) {
    double sum = 0;
    for (std::int64_t i = 0; i < m.rows(); ++i) sum += m(i, i);
    return sum;
}

/// ‖Q A Bᵀ Xᵀ − Q Xᵀ‖²
double loss(const Mat& q, const Mat& x, const Projections& p) {
    const Mat error = q * p.a * (x * p.b).transposed() - q * x.transposed();
    return trace(error * error.transposed());
}

Projections naive_fit(const Mat& q, const Mat& x, std::int64_t r, const LeanvecFitOptions& options) {
    const Mat g = q.transposed() * q, h = x.transposed() * x;
    const auto leading = [r](const Mat& m) {
        const Mat v = eigen_pairs(m).vectors.columns(r);
        return Projections{v, v};
    };
    if (options.method == LeanvecMethod::eigsearch)
        return leading((1 - *options.beta) / static_cast<double>(q.rows()) * g +
                       *options.beta / static_cast<double>(x.rows()) * h);
    if (options.method == LeanvecMethod::id) {
        Mat centered = x;
        for (std::int64_t c = 0; options.center && c < x.cols(); ++c)
            for (std::int64_t t = 0; t < x.rows(); ++t)
                for (std::int64_t u = 0; u < x.rows(); ++u) centered(t, c) -= x(u, c) / static_cast<double>(x.rows());
        return leading(centered.transposed() * centered);
    }
    Projections p{Mat::identity(x.cols()).columns(r), Mat(x.cols(), r)};
    double before = 0;
    for (std::int64_t t = 0; t < options.max_steps; ++t) {
        const double gamma = std::pow(static_cast<double>(t + 1), -0.999);
        const auto& [a, b] = p;
        if (t > 0) p.a = (1 - gamma) * a + gamma * polar(g * h * b - g * a * b.transposed() * h * b);
        p.b = (1 - gamma) * b + gamma * polar(h * g * a - h * b * a.transposed() * g * a);
        const double now = loss(q, x, p);
        if (t > 1 && std::abs(now - before) < options.rel_tol * before) break;
        before = now;
    }
    return p;
}

std::vector<LeanvecFitOptions> methods(std::int64_t rank) {
    LeanvecFitOptions id, centered, eigsearch, frank_wolfe, until_small;
    id.method = centered.method = LeanvecMethod::id, centered.center = true;
    eigsearch.method = LeanvecMethod::eigsearch, eigsearch.beta = 0.3;
    frank_wolfe.max_steps = 25, frank_wolfe.rel_tol = 0;
    until_small.rel_tol = 1e-2;
    std::vector<LeanvecFitOptions> all{id, centered, eigsearch, frank_wolfe, until_small};
    for (LeanvecFitOptions& o : all) o.rank = rank;
    return all;
}

struct Drawn {
    Tensor<float> q, k, learn_q, learn_k;

    Drawn(std::int64_t Hq, std::int64_t Hkv, std::int64_t Tq, std::int64_t Tk, std::int64_t D) {
        Random random(31);
        q = random_tensor(random, Hq, Tq, D, Order::token_head, 2);
        k = random_tensor(random, Hkv, Tk, D, Order::token_head, 1);
        learn_q = skewed_tensor(random, Hkv, 3 * D + 5, D, 0.8, Order::token_head, 2);
        learn_k = skewed_tensor(random, Hkv, 4 * D + 9, D, 0.75, Order::head_token, 1);
    }
};

TEST(Leanvec, FitsAsDefined) {
    for (const auto& [D, r] : {std::array<std::int64_t, 2>{8, 3}, {10, 4}, {12, 12}, {5, 1}}) {
        const Drawn d(2, 2, 1, 1, D);
        for (const LeanvecFitOptions& options : methods(r)) {
            SCOPED_TRACE(testing::Message()
                         << "D " << D << " rank " << r << " method " << static_cast<int>(options.method));
            const Leanvec fit = leanvec_fit(d.learn_q.view(), d.learn_k.view(), options);
            std::vector<float> product;
            const attenta::Heads<float> to = heads_of(product, 2, D, D);
            fit.product(to);
            for (std::int64_t h = 0; h < 2; ++h) {
                const Mat q(d.learn_q.view(), h), x(d.learn_k.view(), h);
                const Projections want = naive_fit(q, x, r, options);
                EXPECT_TRUE(is_close(to.row(h, 0), D, want.a * want.b.transposed(), {2e-6, 0}));
                const double norm = loss(q, x, {Mat(D, r), Mat(D, r)});
                EXPECT_NEAR(fit.loss[static_cast<std::size_t>(h)], loss(q, x, want) / norm, 1e-9);
                if (options.method == LeanvecMethod::frank_wolfe) {
                    EXPECT_TRUE(is_close(fit.a.data() + h * D * r, r, want.a, {2e-6, 0}));
                }
            }
        }
    }
}

/// Of scores, the n largest of the first `end`, the lowest index among equals, largest first.
std::vector<std::int64_t> best(const std::vector<double>& scores, std::vector<std::int64_t> keys, std::int64_t n) {
    std::stable_sort(keys.begin(), keys.end(), [&](std::int64_t a, std::int64_t b) {
        return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
    });
    keys.resize(static_cast<std::size_t>(n));
    return keys;
}

void expect_search(const Drawn& d, const Leanvec& fit, const LeanvecOptions& options, const LeanvecInputs& x) {
    const std::int64_t heads = x.q.heads, Tq = x.q.tokens, Tk = x.k.tokens, top = options.top_k;
    const double scale = double{options.scale.value_or(default_scale(x.q.dim))};
    on_every_isa([&](Context& context) {
        std::vector<std::int64_t> indices(static_cast<std::size_t>(heads * Tq * top));
        std::vector<float> rerank(indices.size()), scores(static_cast<std::size_t>(heads * Tq * Tk));
        leanvec(x, {indices.data(), rerank.data(), scores.data()}, options, context);
        for (std::int64_t h = 0; h < heads; ++h) {
            const std::int64_t g = h / (heads / x.k.heads);
            const auto matrix = [&](const std::vector<float>& m) {
                return Mat(attenta::hnd(m.data(), fit.heads, fit.dim, fit.rank), g);
            };
            const Mat q(d.q.view(), h), k(d.k.view(), g),
                low = scale * q * matrix(fit.a) * (k * matrix(fit.b)).transposed(), exact = scale * q * k.transposed();
            EXPECT_TRUE(is_close(scores.data() + h * Tq * Tk, Tk, low));
            for (std::int64_t i = 0; i < Tq; ++i) {
                std::vector<double> of_low, of_exact;
                std::vector<std::int64_t> seen;
                for (std::int64_t j = 0; j < Tk; ++j) {
                    of_low.push_back(low(i, j));
                    of_exact.push_back(exact(i, j));
                    if (!options.causal || j <= i + Tk - Tq) seen.push_back(j);
                }
                auto found = best(of_low, seen, options.candidates);
                std::sort(found.begin(), found.end());
                found = best(of_exact, found, top);
                for (std::int64_t n = 0; n < top; ++n) {
                    const auto at = static_cast<std::size_t>((h * Tq + i) * top + n);
                    EXPECT_EQ(indices[at], found[static_cast<std::size_t>(n)]) << "query " << i << " place " << n;
                    EXPECT_NEAR(double{rerank[at]}, exact(i, indices[at]), 1e-5);
                }
            }
        }
    });
}

TEST(Leanvec, SearchesAsDefined) {
    for (const auto& [Hq, Hkv, Tq, Tk, D, r] : {std::array<std::int64_t, 6>{1, 1, 1, 1, 1, 1},
                                                {4, 2, 5, 33, 10, 4},
                                                {3, 1, 40, 57, 16, 7},
                                                {2, 2, 1, 700, 33, 9}}) {
        SCOPED_TRACE(testing::Message() << "Tq " << Tq << " Tk " << Tk);
        const Drawn d(Hq, Hkv, Tq, Tk, D);
        const Leanvec fit = leanvec_fit(d.learn_q.view(), d.learn_k.view(), {.method = LeanvecMethod::id, .rank = r});
        LeanvecInputs x{d.q.view(), d.k.view(), &fit};
        for (const bool causal : {false, true}) {
            LeanvecOptions options;
            options.causal = causal;
            options.candidates = std::min<std::int64_t>(12, Tk - Tq + 1);
            options.top_k = (options.candidates + 1) / 2;
            expect_search(d, fit, options, x);
            options.scale = -2.f;
            expect_search(d, fit, options, x);
            std::vector<float> low;
            const attenta::Heads<float> kept = heads_of(low, Hkv, Tk, r);
            fit.project_keys(d.k.view(), kept);
            x.low_k = kept;
            expect_search(d, fit, options, x);
            x.low_k = {};
        }
    }
}

/// Equal keys come in their order; a query of NaN finds nothing and leaves the others alone.
TEST(Leanvec, TiesAndNaN) {
    const Drawn d(1, 1, 3, 40, 8);
    const Leanvec fit = leanvec_fit(d.learn_q.view(), d.learn_k.view());
    for (std::int64_t j = 1; j < 40; ++j) std::copy_n(d.k.row(0, 0), 8, d.k.row(0, j));
    d.q.row(0, 1)[5] = std::numeric_limits<float>::quiet_NaN();
    std::vector<std::int64_t> indices(9);
    std::vector<float> scores(9);
    leanvec({d.q.view(), d.k.view(), &fit}, {indices.data(), scores.data()}, {.candidates = 5, .top_k = 3});
    EXPECT_EQ(indices, (std::vector<std::int64_t>{0, 1, 2, -1, -1, -1, 0, 1, 2}));
    EXPECT_TRUE(std::isnan(scores[3]) && !std::isnan(scores[2]) && !std::isnan(scores[6]));
}

TEST(LeanvecErrors, Search) {
    const Drawn d(4, 2, 5, 12, 8), other(4, 1, 5, 12, 8);
    const Leanvec fit = leanvec_fit(d.learn_q.view(), d.learn_k.view()),
                  of_one = leanvec_fit(other.learn_q.view(), other.learn_k.view());
    using X = LeanvecInputs;
    using O = LeanvecOptions;
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        X x{d.q.view(), d.k.view(), &fit};
        O options{.candidates = 6, .top_k = 3};
        change(x, options);
        return refuses_to_write(
            {nullptr, 4, 5, 12, 0, 0},
            [&](attenta::Heads<float> to) {
                leanvec(x, {nullptr, nullptr, to.data}, options);
            },
            words);
    };
    EXPECT_TRUE(refused([](X&, O& o) { o.top_k = 0; }, {"leanvec", "top_k", "0", "1"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.top_k = 7; }, {"leanvec", "candidates", "6", "7"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.candidates = 13; }, {"leanvec", "candidates", "13", "12"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.candidates = 9, o.causal = true; }, {"leanvec", "candidates", "9", "8"}));
    EXPECT_TRUE(refused([](X& x, O& o) { x.k.tokens = 4, o.causal = true; }, {"leanvec", "q", "5", "4"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.projections = nullptr; }, {"leanvec", "projections", "null"}));
    EXPECT_TRUE(refused([&](X& x, O&) { x.projections = &of_one; }, {"leanvec", "projections", "1", "2"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.low_k = x.k; }, {"leanvec", "low_k", "8", "4"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.q.dim = x.k.dim = 7; }, {"leanvec", "projections", "8", "7"}));
}

TEST(LeanvecErrors, Fit) {
    const Drawn d(2, 2, 1, 1, 8);
    const auto refused = [&](const LeanvecFitOptions& o, std::initializer_list<std::string_view> words) {
        return refuses([&] { leanvec_fit(d.learn_q.view(), d.learn_k.view(), o); }, words);
    };
    EXPECT_TRUE(refused({.rank = 0}, {"leanvec_fit", "rank", "0", "8"}));
    EXPECT_TRUE(refused({.rank = 9}, {"leanvec_fit", "rank", "9", "8"}));
    EXPECT_TRUE(refused({.method = LeanvecMethod::eigsearch}, {"leanvec_fit", "beta"}));
    EXPECT_TRUE(refused({.method = LeanvecMethod::eigsearch, .beta = 1.5}, {"leanvec_fit", "beta", "1"}));
    EXPECT_TRUE(refused({.max_steps = 0}, {"leanvec_fit", "max_steps", "0", "1"}));
    EXPECT_TRUE(refused({.rel_tol = -1}, {"leanvec_fit", "rel_tol"}));
    View none = d.learn_q.view();
    none.tokens = 0;
    EXPECT_TRUE(refuses([&] { leanvec_fit(none, d.learn_k.view()); }, {"leanvec_fit", "learn_q", "0"}));
    none.tokens = 5, none.heads = 1;
    EXPECT_TRUE(refuses([&] { leanvec_fit(none, d.learn_k.view()); }, {"leanvec_fit", "learn_q", "1", "2"}));
    d.learn_k.row(1, 4)[2] = std::numeric_limits<float>::infinity();
    EXPECT_TRUE(refused({}, {"leanvec_fit", "learn_k", "4"}));
}

}  // namespace
}  // namespace attenta_test
