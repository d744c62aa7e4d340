// ReGLA equals its definition; parts of a sequence; its own errors.
#include <attenta/linear/decay/regla.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "linear/support/spoiled.hpp"

namespace attenta_test {
namespace {

using attenta::ReglaGateAxis, attenta::ReglaKeyMax, attenta::RowNorm;

double naive_sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// exp(x − top)
Row naive_below(Row x, double top) {
    for (double& e : x) e = std::exp(e - top);
    return x;
}

/// The largest finite one of the head's keys and of the past.
std::vector<double> naive_largest(View k, const LinearState& past) {
    std::vector<double> top(static_cast<std::size_t>(k.heads), -std::numeric_limits<double>::infinity());
    for (std::int64_t h = 0; h < k.heads; ++h) {
        double& m = top.data()[h];
        if (!past.empty()) m = double{past.key_max.data()[h]};
        for (std::int64_t t = 0; t < k.tokens; ++t)
            for (const double e : naive_row(k, h, k.heads, t))
                if (std::isfinite(e)) m = std::max(m, e);
    }
    return top;
}

//   φ(q) = exp(q − max q), φ(k) = exp(k − m);   F = (1 − r) f² + r (1 − (1 − f)²),  f = sigmoid(gate), r = sigmoid(refine)
//   S_t = S_{t-1} diag(F_t) + φ(k_t) v_tᵀ  (or diag(F_t) S_{t-1}),   o_t = norm(scale · S_tᵀ φ(q_t))
NaiveLinear naive_regla(const attenta::ReglaInputs& in, const attenta::ReglaOptions& x, const LinearState& past) {
    const auto& [q, k, v, gate, refine] = in;
    const double e2 = std::exp(2.0), D = static_cast<double>(q.dim), eps = double{x.eps};
    const double scale = x.scale ? double{*x.scale} : 1 / (std::exp(1.0) * std::sqrt(D * (e2 - 1)));
    NaiveLinear r = naive_start(q.heads, q.tokens, q.heads, q.dim, v.dim, past);
    const bool sequence = x.key_max == ReglaKeyMax::sequence;
    if (sequence) r.key_max = naive_largest(k, past);
    for (std::int64_t h = 0; h < q.heads; ++h) {
        if (sequence && !past.empty())
            naive_multiply(r, h, std::exp(double{past.key_max.data()[h]} - r.key_max.data()[h]));
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            for (std::int64_t d = 0; d < q.dim; ++d)
                for (std::int64_t e = 0; e < v.dim; ++e) {
                    const std::int64_t c = x.gate_axis == ReglaGateAxis::value ? e : d;
                    const double f = naive_sigmoid(double{gate.row(h, t)[c]}),
                                 p = naive_sigmoid(double{refine.row(h, t)[c]});
                    r.s_row(h, d)[e] *= (1 - p) * f * f + p * (1 - (1 - f) * (1 - f));
                }
            const Row qt = naive_row(q, h, q.heads, t), kt = naive_row(k, h, k.heads, t);
            const double m = sequence ? r.key_max.data()[h] : *std::max_element(kt.begin(), kt.end());
            naive_add(r, h, naive_below(kt, m), naive_row(v, h, v.heads, t));
            Row o = naive_read(r, h, naive_below(qt, *std::max_element(qt.begin(), qt.end())));
            double mean = 0, squares = 0;
            for (double& y : o) mean += (y *= scale) / static_cast<double>(v.dim);
            for (double& y : o) {
                if (x.norm == RowNorm::layer) y -= mean;
                squares += y * y / static_cast<double>(v.dim);
            }
            for (std::int64_t e = 0; e < v.dim; ++e)
                r.o_row(h, t)[e] = o.data()[e] / (x.norm == RowNorm::none ? 1 : std::sqrt(squares + eps));
        }
    }
    return r;
}

using Options = attenta::ReglaOptions;

/// Logits of gates that are about 0.9, nearly or fully closed, open.
void put_logits(LinearCase& c) {
    const std::int64_t width = options_of<Options>(c).gate_axis == ReglaGateAxis::value ? c.shape.Dv : c.shape.D;
    const auto logit = [&] {
        const float mild = 2 + c.random.normal();
        switch (c.gates) {
            case Gates::mild:
                return mild;
            case Gates::strong:
                return c.random.chance(0.5) ? -10 + c.random.normal() : mild;
            case Gates::closed:
                return c.random.chance(0.1) ? -200.f : mild;
            case Gates::zero:
                return 100.f;
        }
        return mild;
    };
    c.put("gate", Along::keys, c.shape.Hv, width, logit);
    c.put_normal("refine", Along::keys, c.shape.Hv, width);
}

const LinearMechanism& regla = test_linear<&attenta::regla, naive_regla>(
    {.name = "regla",
     .variants = {{"no norm, maxima of tokens, scale -0.7",
                   [](LinearCase& c) {
                       options_of<Options>(c).key_max = ReglaKeyMax::token;
                       options_of<Options>(c).norm = RowNorm::none;
                       options_of<Options>(c).scale = -0.7f;
                   }},
                  {"layer norm, eps 0.01",
                   [](LinearCase& c) {
                       options_of<Options>(c).norm = RowNorm::layer, options_of<Options>(c).eps = 0.01f;
                   }},
                  {"gates of keys, maxima of tokens",
                   [](LinearCase& c) {
                       options_of<Options>(c).key_max = ReglaKeyMax::token;
                       options_of<Options>(c).gate_axis = ReglaGateAxis::key;
                       put_logits(c);
                   }},
                  {"gates of keys, no norm",
                   [](LinearCase& c) {
                       options_of<Options>(c).norm = RowNorm::none;
                       options_of<Options>(c).gate_axis = ReglaGateAxis::key;
                       put_logits(c);
                   }}},
     .fill = put_logits,
     .can_be_cut = [](const LinearCase& c) { return options_of<Options>(c).key_max == ReglaKeyMax::token; }});

/// With the maximum of the sequence parts differ by a factor for each token, which the norm removes.
TEST(Regla, PartsOfASequenceGiveTheSameBehindTheNorm) {
    LinearCase c = linear_case(regla, {2, 2, 2, 300, 16, 9}, Gates::mild);
    options_of<Options>(c).eps = 0;
    Context context;
    const LinearOutput whole = attend(c, context);
    LinearState state;
    for (const std::int64_t cut : {1, 40, 41}) {
        LinearOutput first = attend(c, 0, cut, {}, context), second = attend(c, cut, 300 - cut, first.state, context);
        EXPECT_LE(distance(second.state, whole.state), 1e-5);
        second.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
            for (std::int64_t e = 0; e < 9; ++e) EXPECT_NEAR(row[e], whole.o.row(h, cut + t)[e], 1e-4);
        });
    }
}

/// 1 − F is lost in F: with such gates a state decays by 1 % in 10^6 tokens.
TEST(Regla, GatesNearOneKeepTheirDigits) {
    LinearCase c = linear_case(regla, {1, 1, 1, 1, 1, 1}, Gates::mild, 1);
    c.past = LinearState(1, 1, 1);
    c.past.matrix[0] = 1;
    for (const char* name : {"k", "v", "q"}) change(c, name, [](float) { return 0.f; });
    change(c, "gate", [](float) { return 9.f; });
    change(c, "refine", [](float) { return 4.f; });
    c.past.matrix[0] = 1e6f;
    Context context;
    const double want = naive(c).matrix[0];
    EXPECT_NEAR(attend(c, context).state.matrix[0], want, 1e-7 * want);
}

TEST(ReglaErrors, LogitsStatesAndOptions) {
    const OwnErrors errors(regla);
    EXPECT_TRUE(errors.refused({"k", "1", "2"}, [](Call& c) { c.x.at("k").heads = 1; }));
    EXPECT_TRUE(errors.refused({"gate", "16", "24"}, [](Call& c) { c.x.at("gate").dim = 16; }));
    EXPECT_TRUE(errors.refused({"refine", "16", "24"}, [](Call& c) { c.x.at("refine").dim = 16; }));
    EXPECT_TRUE(
        errors.refused({"gate", "24", "16"}, [](Call& c) { c.options<Options>().gate_axis = ReglaGateAxis::key; }));
    EXPECT_TRUE(errors.refused({"eps", "-1"}, [](Call& c) { c.options<Options>().eps = -1; }));
}

}  // namespace
}  // namespace attenta_test
