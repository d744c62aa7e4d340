#include <attenta/variants/network/variational.hpp>

#include "naive_network.hpp"
#include "support/errors.hpp"
#include "variants/support/call.hpp"

namespace attenta_test {
namespace {

using attenta::VariationalInputs, attenta::VariationalMode, attenta::VariationalOptions, attenta::VariationalOutputs,
    attenta::VariationalScore;

double naive_log_sum(const std::vector<double>& x) {
    const double top = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (const double e : x) sum += std::exp(e - top);
    return top + std::log(sum);
}
std::vector<double> naive_log_softmax(std::vector<double> x) {
    const double sum = naive_log_sum(x);
    for (double& e : x) e -= sum;
    return x;
}

/// ln α of a row.
std::vector<double> naive_prior(const VariationalInputs& x, const VariationalOptions& o, std::int64_t h,
                                std::int64_t i) {
    std::vector<double> s;
    const auto q = wide(x.q.row(h, i), x.q.dim);
    for (std::int64_t j = 0; j < x.k.tokens; ++j) {
        const auto k = wide(x.k.row(h / (x.q.heads / x.k.heads), j), x.k.dim);
        if (o.score == VariationalScore::dot) s.push_back(naive_dot(q, k));
        if (o.score == VariationalScore::general) s.push_back(naive_dot(q, naive_linear(x.w_a, k)));
        if (o.score == VariationalScore::additive)
            s.push_back(naive_tanh_score(x.v_a, naive_linear(x.w_q, q), naive_linear(x.w_k, k)));
    }
    if (o.top_k > 0 && o.top_k < x.k.tokens) {
        std::vector<double> sorted = s;
        std::sort(sorted.rbegin(), sorted.rend());
        for (double& e : s) e = e < sorted[static_cast<std::size_t>(o.top_k - 1)] ? minus_infinity : e;
    }
    return naive_log_softmax(s);
}

//   log softmax(w_y tanh(w_c [q; c] + b_c) + b_y)
std::vector<double> naive_predict(const VariationalInputs& x, const std::vector<double>& q,
                                  const std::vector<double>& c) {
    auto hidden = naive_sum(naive_sum(naive_linear(x.w_c, q), naive_linear(x.w_c, c, x.q.dim)), x.b_c);
    for (double& e : hidden) e = std::tanh(e);
    return naive_log_softmax(naive_sum(naive_linear(x.w_y, hidden), x.b_y));
}

void naive_row(const VariationalInputs& x, const VariationalOptions& o, std::int64_t h, std::int64_t i, Wanted& want) {
    const std::int64_t Tk = x.k.tokens, Y = x.w_y.rows, hv = h / (x.q.heads / x.v.heads);
    const auto q = wide(x.q.row(h, i), x.q.dim), prior = naive_prior(x, o, h, i);
    std::vector<double> mean(static_cast<std::size_t>(x.v.dim));
    std::vector<std::vector<double>> each;
    for (std::int64_t j = 0; j < Tk; ++j) {
        const auto value = wide(x.v.row(hv, j), x.v.dim);
        const double w = std::exp(prior[static_cast<std::size_t>(j)]);
        want["weights"].push_back(w);
        for (std::size_t c = 0; c < mean.size(); ++c) mean[c] += w * value[c];
        each.push_back(naive_predict(x, q, value));
    }
    want["o"].insert(want["o"].end(), mean.begin(), mean.end());
    std::vector<std::int64_t> chosen;
    if (o.mode == VariationalMode::argmax)
        chosen.push_back(std::max_element(prior.begin(), prior.end()) - prior.begin());
    for (std::int64_t n = 0; o.mode == VariationalMode::sample && n < x.u.dim; ++n) {
        double sum = 0;
        std::int64_t j = 0;
        for (; j < Tk; ++j)
            if ((sum += std::exp(prior[static_cast<std::size_t>(j)])) > double{x.u.row(h, i)[n]}) break;
        chosen.push_back(std::min(j, Tk - 1));
    }
    for (const std::int64_t j : chosen) want["index"].push_back(static_cast<double>(j));
    const auto soft = naive_predict(x, q, mean);
    for (std::size_t y = 0; y < static_cast<std::size_t>(Y); ++y) {
        std::vector<double> joint;
        if (o.mode == VariationalMode::soft) joint.push_back(soft[y]);
        if (o.mode == VariationalMode::exact)
            for (std::size_t j = 0; j < prior.size(); ++j) joint.push_back(prior[j] + each[j][y]);
        for (const std::int64_t j : chosen)
            joint.push_back(each[static_cast<std::size_t>(j)][y] - std::log(static_cast<double>(chosen.size())));
        want["log_p"].push_back(naive_log_sum(joint));
    }
    if (!x.posterior.data) return;
    const auto posterior = naive_log_softmax(wide(x.posterior.row(h, i), Tk));
    double kl = 0;
    for (std::size_t j = 0; j < prior.size(); ++j) kl += std::exp(posterior[j]) * (posterior[j] - prior[j]);
    want["kl"].push_back(kl);
    for (std::size_t y = 0; y < static_cast<std::size_t>(Y); ++y) {
        double bound = -kl;
        for (std::size_t j = 0; j < prior.size(); ++j) bound += std::exp(posterior[j]) * each[j][y];
        want["elbo"].push_back(bound);
    }
}

struct Case {
    Case(std::int64_t Hq, std::int64_t Hkv, std::int64_t Tq, std::int64_t Tk, VariationalMode mode,
         VariationalScore score, bool posterior, std::int64_t pad = 0)
        : d(static_cast<std::uint64_t>(Tk), pad) {
        options.mode = mode, options.score = score;
        x.q = d.heads(Hq, Tq, 6), x.k = d.heads(Hkv, Tk, 6), x.v = d.heads(Hkv, Tk, 5);
        x.w_c = d.matrix(9, 11, 0.4f), x.b_c = d.vector(9), x.w_y = d.matrix(13, 9), x.b_y = d.vector(13);
        if (score == VariationalScore::additive)
            x.w_q = d.matrix(7, 6, 0.5f), x.w_k = d.matrix(7, 6, 0.5f), x.v_a = d.vector(7);
        if (score == VariationalScore::general) x.w_a = d.matrix(6, 6, 0.4f);
        if (posterior) x.posterior = d.heads(Hq, Tq, Tk, 2);
        if (mode == VariationalMode::sample) {
            x.u = d.heads(Hq, Tq, 3);
            for (std::int64_t h = 0; h < Hq; ++h)
                for (std::int64_t i = 0; i < Tq; ++i)
                    for (std::int64_t n = 0; n < 3; ++n)
                        const_cast<float*>(x.u.row(h, i))[n] = static_cast<float>(d.random.uniform());
        }
    }
    Results run(Context& context) const {
        const std::int64_t Hq = x.q.heads, Tq = x.q.tokens;
        Room o(Hq, Tq, x.v.dim), log_p(Hq, Tq, x.w_y.rows), elbo(Hq, Tq, x.w_y.rows);
        std::vector<float> weights(static_cast<std::size_t>(Hq * Tq * x.k.tokens)),
            kl(static_cast<std::size_t>(Hq * Tq));
        const bool draws = options.mode == VariationalMode::sample;
        std::vector<std::int64_t> index(static_cast<std::size_t>(Hq * Tq * (draws ? x.u.dim : 1)));
        VariationalOutputs out{o.view(), log_p.view(), weights.data(), index.data()};
        if (x.posterior.data) out.elbo = elbo.view(), out.kl = kl.data();
        attenta::variational(x, out, options, context);
        Results r{{"o", o.rows()}, {"log_p", log_p.rows()}, {"weights", weights}};
        if (draws || options.mode == VariationalMode::argmax) r["index"] = {index.begin(), index.end()};
        if (x.posterior.data) r["elbo"] = elbo.rows(), r["kl"] = kl;
        return r;
    }
    void expect_definition() const {
        Wanted want;
        for (std::int64_t h = 0; h < x.q.heads; ++h)
            for (std::int64_t i = 0; i < x.q.tokens; ++i) naive_row(x, options, h, i, want);
        expect_everywhere([&](Context& context) { return run(context); }, want, 5e-5);
    }

    Drawn d;
    VariationalInputs x;
    VariationalOptions options;
};

constexpr VariationalMode modes[] = {VariationalMode::exact, VariationalMode::soft, VariationalMode::argmax,
                                     VariationalMode::sample};

TEST(Variational, HoldsForModesAndScores) {
    for (const VariationalMode mode : modes)
        for (const auto score : {VariationalScore::additive, VariationalScore::general, VariationalScore::dot})
            for (const bool posterior : {false, true}) {
                Case(1, 1, 1, 1, mode, score, posterior).expect_definition();
                Case(4, 2, 5, 17, mode, score, posterior, 2).expect_definition();
                Case(2, 1, 3, 300, mode, score, posterior).expect_definition();
            }
}

TEST(Variational, HoldsForTheLargestScores) {
    for (const VariationalMode mode : modes) {
        Case c(2, 2, 6, 40, mode, VariationalScore::dot, false);
        c.options.top_k = 4;
        c.expect_definition();
        c.options.top_k = 100;
        c.expect_definition();
    }
}

/// The bound lies below the marginal, and meets it where the posterior is the exact one's prior of a predictor that says nothing.
TEST(Variational, BoundIsBelowTheMarginal) {
    const Case c(2, 1, 4, 30, VariationalMode::exact, VariationalScore::additive, true);
    Context context;
    const Results r = c.run(context);
    for (std::size_t i = 0; i < r.at("elbo").size(); ++i) EXPECT_LE(r.at("elbo")[i], r.at("log_p")[i] + 1e-5f);
}

/// More queries than one range of scores holds.
TEST(Variational, RangesOfQueries) {
    Case c(1, 1, 30, 40000, VariationalMode::argmax, VariationalScore::dot, false);
    Context context;
    const Results all = c.run(context);
    c.x.q = c.x.q.slice(28, 1);
    const Results one = c.run(context);
    EXPECT_EQ(all.at("index")[28], one.at("index")[0]);
    for (std::size_t y = 0; y < 13; ++y) EXPECT_NEAR(all.at("log_p")[28 * 13 + y], one.at("log_p")[y], 1e-5);
}

TEST(Variational, KeepsNanInItsRows) {
    for (const VariationalMode mode : modes) {
        Case c(2, 1, 5, 20, mode, VariationalScore::additive, false);
        const_cast<float*>(c.x.q.row(1, 2))[0] = std::numeric_limits<float>::quiet_NaN();
        on_every_isa([&](Context& context) {
            const Results r = c.run(context);
            for (std::size_t row = 0; row < 10; ++row)
                for (std::size_t y = 0; y < 13; ++y) EXPECT_EQ(std::isnan(r.at("log_p")[row * 13 + y]), row == 7);
        });
    }
}

TEST(VariationalErrors, RefusesWhatDoesNotFit) {
    const Case c(2, 1, 5, 20, VariationalMode::sample, VariationalScore::additive, true);
    Room room(2, 5, 5), log_p(2, 5, 13);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            VariationalInputs x = c.x;
            VariationalOptions options = c.options;
            VariationalOutputs out{room.view(), log_p.view()};
            change(x, options, out);
            attenta::variational(x, out, options);
        };
    };
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.w_k = {}; }), {"variational", "w_k", "null"}));
    EXPECT_TRUE(
        refuses(call_with([](auto&, auto& o, auto&) { o.score = VariationalScore::general; }), {"w_a", "null"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.w_c.cols = 10; }), {"w_c", "10", "11"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.u = {}; }), {"u", "null"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.posterior.dim = 19; }), {"posterior", "19", "20"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.top_k = -1; }), {"top_k", "-1"}));
    EXPECT_TRUE(
        refuses(call_with([](auto& x, auto&, auto& out) { x.posterior = {}, out.elbo = out.log_p; }), {"posterior"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& out) { out.log_p.dim = 12; }), {"log_p", "12", "13"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& out) { out.kl = out.o.data; }), {"kl", "o"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.q.heads = 3; }), {"3"}));
    EXPECT_TRUE(room.untouched_so_far() && log_p.untouched_so_far());
}

}  // namespace
}  // namespace attenta_test
