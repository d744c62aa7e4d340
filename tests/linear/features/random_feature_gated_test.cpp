// Gated random feature attention equals its definition; sentences in parts; its own errors.
#include <attenta/linear/features/random_feature_gated.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "linear/support/naive_features.hpp"

namespace attenta_test {
namespace {

using attenta::RandomFeature, attenta::SentenceGate;
using Inputs = attenta::RandomFeatureGatedInputs;
using Options = attenta::RandomFeatureGatedOptions;

//   trig: s [sin W x̃, cos W x̃], x̃ = x / (|x| + 1e-3);   positive: s exp(W x̃ − |x̃|²/2 − max W x̃), x̃ = D^(−1/4) x
Row naive_random_features(const Inputs& in, const Options& x, Row row, std::int64_t h) {
    const bool trig = x.random_feature == RandomFeature::trig;
    const double s = double{x.feature_scale}, squares = naive_dot(row.data(), row);
    for (double& e : row)
        e *= trig ? 1 / (std::sqrt(squares) + 1e-3) : std::pow(static_cast<double>(row.size()), -0.25);
    Row y;
    for (std::int64_t m = 0; m < in.projection.tokens; ++m) {
        double product = 0;
        for (std::int64_t d = 0; d < in.projection.dim; ++d)
            product += double{in.projection.row(h, m)[d]} * (in.sigma.data ? double{in.sigma.row(h, 0)[d]} : 1) *
                       row.data()[d] / double{x.tau};
        y.push_back(product);
    }
    if (trig) {
        Row both;
        for (const double e : y) both.push_back(s * std::sin(e));
        for (const double e : y) both.push_back(s * std::cos(e));
        return both;
    }
    const double top = *std::max_element(y.begin(), y.end()), half = naive_dot(row.data(), row) / 2;
    for (double& e : y) e = s * std::exp(e - half - top);
    return y;
}

//   S ← own_u S + put_u φ(k_u) v_uᵀ,   o = Sᵀ φ(q) / max(z·φ(q), eps),   S ← keep_u S;   not causal: all keys first
NaiveLinear naive_gated(const Inputs& in, const Options& x, const LinearState& past) {
    const auto& [q, k, v, projection, sigma, gate, separator] = in;
    const std::int64_t F = projection.tokens * (x.random_feature == RandomFeature::trig ? 2 : 1), n = k.tokens;
    NaiveLinear r = naive_start(q.heads, q.tokens, k.heads, F, v.dim, past);
    r.normalizer = naive_past(past.normalizer, k.heads * F);
    const bool convex = x.gate_mode == SentenceGate::convex, token = x.gate_mode == SentenceGate::token;
    if (convex) r.weight = naive_past(past.weight, k.heads);
    const auto multiply = [&](std::int64_t h, double factor) {
        naive_multiply(r, h, factor);
        for (std::int64_t f = 0; f < F; ++f) r.z_row(h)[f] *= factor;
    };
    const auto read = [&, &q = q, &v = v](std::int64_t h, std::int64_t t) {
        for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i) {
            const Row phi = naive_random_features(in, x, naive_row(q, i, q.heads, t), h), num = naive_read(r, h, phi);
            const double den = naive_dot(r.z_row(h), phi);
            for (std::int64_t e = 0; e < v.dim; ++e)
                r.o_row(i, t)[e] = num.data()[e] / (den > double{x.eps} || std::isnan(den) ? den : double{x.eps});
        }
    };
    for (std::int64_t h = 0; h < k.heads; ++h) {
        for (std::int64_t u = 0; u < n; ++u) {
            const double g = gate.data ? double{gate.row(h, u)[0]} : 0;
            const double put = token ? 1 - g : convex ? 1 - r.weight.data()[h] : 1;
            if (token) multiply(h, g);
            Row phi = naive_random_features(in, x, naive_row(k, h, k.heads, u), h);
            for (double& e : phi) e *= put;
            naive_add(r, h, phi, naive_row(v, h, k.heads, u));
            for (std::int64_t f = 0; f < F; ++f) r.z_row(h)[f] += phi.data()[f];
            if (x.causal && u >= n - q.tokens) read(h, u - (n - q.tokens));
            if (token || x.gate_mode == SentenceGate::none || separator.data()[u] == 0) continue;
            multiply(h, g);
            if (convex) r.weight.data()[h] = g;
        }
        for (std::int64_t t = 0; t < q.tokens && !x.causal; ++t) read(h, t);
    }
    return r;
}

void put_projection(LinearCase& c, std::int64_t M) {
    Tensor<float> w(c.shape.Hk, M, c.shape.D);
    w.each_row([&](float* row, std::int64_t, std::int64_t) {
        for (std::int64_t d = 0; d < c.shape.D; ++d) row[d] = c.random.normal();
    });
    c.inputs.insert_or_assign("projection", LinearInput{std::move(w), Along::nothing});
}
void fill(LinearCase& c) { put_projection(c, c.shape.D + 5); }
void put_sigma(LinearCase& c) { c.put_uniform("sigma", Along::nothing, c.shape.Hk, c.shape.D, 0.5, 1.5); }
void put_gate(LinearCase& c) { c.put_uniform("gate", Along::keys, c.shape.Hk, 1, 0.01, 0.99); }
void set_positive(LinearCase& c) {
    options_of<Options>(c).random_feature = RandomFeature::positive;
    options_of<Options>(c).eps = 1e-3f;
}
void set_token(LinearCase& c) {
    put_gate(c);
    options_of<Options>(c).gate_mode = SentenceGate::token;
}

const LinearMechanism& gated = test_linear<&attenta::random_feature_gated, naive_gated>(
    {.name = "random_feature_gated",
     .variants = {{"sigma, tau 1.5, scale 0.3",
                   [](LinearCase& c) {
                       put_sigma(c);
                       options_of<Options>(c).tau = 1.5f, options_of<Options>(c).feature_scale = 0.3f;
                   }},
                  {"token gates", set_token},
                  {"token gates, positive", [](LinearCase& c) { set_token(c), set_positive(c); }},
                  {"positive, sigma", [](LinearCase& c) { set_positive(c), put_sigma(c); }},
                  {"not causal", [](LinearCase& c) { options_of<Options>(c).causal = false; }},
                  {"large products", [](LinearCase& c) { options_of<Options>(c).tau = 0.2f; }},
                  {"token gates with history",
                   [](LinearCase& c) { set_token(c), set_queries(c, std::max<std::int64_t>(c.shape.T / 3, 1)); }},
                  {"more queries than keys",
                   [](LinearCase& c) {
                       options_of<Options>(c).causal = false;
                       set_queries(c, c.shape.T + 5);
                   }}},
     .fill = fill,
     .signed_normalizer = true,
     .has_history = true,
     .can_be_cut = [](const LinearCase& c) { return options_of<Options>(c).causal; }});

/// A case with sentences, which are integers.
struct Sentences {
    LinearCase c;
    std::vector<std::int64_t> separator;

    Sentences(SentenceGate mode, std::int64_t T, std::uint64_t seed, bool positive = false)
        : c(linear_case(gated, {4, 2, 2, T, 12, 9}, Gates::mild, 0, false, seed)) {
        put_gate(c);
        if (positive) set_positive(c);
        options_of<Options>(c).gate_mode = mode;
        for (std::int64_t t = 0; t < T; ++t) separator.push_back(c.random.chance(0.1) ? 1 : 0);
    }
    Inputs inputs(std::int64_t begin, std::int64_t count) const {
        const LinearViews v = c.views(begin, count);
        return {v["q"],
                v["k"],
                v["v"],
                v["projection"],
                v["sigma"],
                v["gate"],
                std::span(separator).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count))};
    }
    Inputs inputs() const { return inputs(0, c.shape.T); }
};

TEST(RandomFeatureGated, HoldsForSentences) {
    for (const SentenceGate mode : {SentenceGate::decay, SentenceGate::convex})
        for (const std::int64_t T : {1, 3, 17, 40, 200})
            for (const bool positive : {false, true})
                for (const bool past : {false, true}) {
                    Sentences s(mode, T, static_cast<std::uint64_t>(T), positive);
                    const auto& options = options_of<Options>(s.c);
                    if (past) {
                        const NaiveLinear shape = naive_gated(s.inputs(), options, {});
                        s.c.past = LinearState(2, shape.dim, 9);
                        for (float& e : s.c.past.matrix) e = 0.5f * s.c.random.normal();
                        s.c.past.normalizer = s.c.random.normals(2 * shape.dim);
                        if (mode == SentenceGate::convex) s.c.past.weight = {0.25f, 0.75f};
                    }
                    const NaiveLinear want = naive_gated(s.inputs(), options, s.c.past);
                    on_every_isa([&](Context& context) {
                        LinearOutput got{Tensor<float>(4, T, 9), s.c.past};
                        attenta::random_feature_gated(s.inputs(), got.o.view(), got.state, options, context);
                        EXPECT_TRUE(close(got, want)) << describe(s.c);
                    });
                }
}

TEST(RandomFeatureGated, SentencesCutAnywhereGiveTheSame) {
    for (const SentenceGate mode : {SentenceGate::decay, SentenceGate::convex}) {
        const Sentences s(mode, 50, 7);
        const auto& options = options_of<Options>(s.c);
        const NaiveLinear want = naive_gated(s.inputs(), options, {});
        for (std::int64_t cut = 1; cut < 50; ++cut) {
            LinearOutput got{Tensor<float>(4, 50, 9), {}};
            attenta::random_feature_gated(s.inputs(0, cut), got.o.view().slice(0, cut), got.state, options);
            attenta::random_feature_gated(s.inputs(cut, 50 - cut), got.o.view().slice(cut, 50 - cut), got.state,
                                          options);
            EXPECT_TRUE(close(got, want)) << "cut at " << cut;
        }
    }
}

TEST(RandomFeatureGatedErrors, Features) { expect_feature_errors(gated); }

TEST(RandomFeatureGatedErrors, GatesAndOptions) {
    const OwnErrors errors(gated);
    const auto set = [](auto member, auto value) {
        return [member, value](Call& c) { c.options<Options>().*member = value; };
    };
    EXPECT_TRUE(errors.refused({"tau", "0"}, set(&Options::tau, 0.f)));
    EXPECT_TRUE(
        errors.refused({"feature_scale"}, set(&Options::feature_scale, std::numeric_limits<float>::infinity())));
    EXPECT_TRUE(errors.refused({"eps", "-1"}, set(&Options::eps, -1.f)));
    EXPECT_TRUE(errors.refused({"gate", "token"}, set(&Options::gate_mode, SentenceGate::token)));
    EXPECT_TRUE(errors.refused({"projection", "15", "16"}, [](Call& c) { c.x.at("projection").dim = 15; }));
    EXPECT_TRUE(errors.refused({"projection", "1", "2"}, [](Call& c) { c.x.at("projection").heads = 1; }));
    EXPECT_TRUE(errors.refused({"projection", "0"}, [](Call& c) { c.x.at("projection").tokens = 0; }));
    const std::size_t token = 2;
    EXPECT_TRUE(errors.refused({"gate_mode", "causal"}, set(&Options::causal, false), token));
    EXPECT_TRUE(errors.refused({"separator"}, set(&Options::gate_mode, SentenceGate::decay), token));
    EXPECT_TRUE(errors.refused(
        {"gate", "1.500000"},
        [](Call& c) {
            c.options<Options>().check_data = true;
            *const_cast<float*>(c.x["gate"].row(1, 2)) = 1.5f;
        },
        token));
    Sentences s(SentenceGate::decay, 6, 1);
    Tensor<float> o(4, 6, 9);
    LinearState state;
    s.separator[3] = 2;
    EXPECT_TRUE(refuses([&] { attenta::random_feature_gated(s.inputs(), o.view(), state, options_of<Options>(s.c)); },
                        {"random_feature_gated", "separator", "2"}));
    s.separator[3] = 1;
    Inputs x = s.inputs();
    x.separator = x.separator.first(5);
    EXPECT_TRUE(refuses([&] { attenta::random_feature_gated(x, o.view(), state, options_of<Options>(s.c)); },
                        {"random_feature_gated", "separator", "5", "6"}));
}

}  // namespace
}  // namespace attenta_test
