// The matrix memory of xLSTM equals its definition; its own errors.
#include <attenta/linear/recurrent/mlstm.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "linear/support/spoiled.hpp"

namespace attenta_test {
namespace {

/// The larger one; NaN where one is.
double naive_max(double a, double b) { return std::isnan(a) || a >= b ? a : b; }

//   lf = log sigmoid(gate_f), or gate_f;   m_t = max(lf + m_{t-1}, gate_i)
//   C_t = e^(lf + m_{t-1} − m_t) C_{t-1} + e^(gate_i − m_t) k_t v_tᵀ;   n_t likewise with k_t
//   o_t = C_tᵀ q_t / (max(|q_t·n_t|, e^(−m_t)) + eps)
NaiveLinear naive_mlstm(const attenta::MlstmInputs& in, const attenta::MlstmOptions& x, const LinearState& past) {
    const auto& [q, k, v, gate_i, gate_f] = in;
    NaiveLinear r = naive_start(q.heads, q.tokens, q.heads, q.dim, v.dim, past);
    r.normalizer = naive_past(past.normalizer, q.heads * q.dim);
    r.key_max = naive_past(past.key_max, q.heads);
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            const double f = double{gate_f.row(h, t)[0]}, i = double{gate_i.row(h, t)[0]}, before = r.key_max.data()[h],
                         lf = x.forget == attenta::MlstmForget::log
                                  ? f
                                  : std::min(f, 0.0) - std::log1p(std::exp(-std::abs(f))),
                         m = naive_max(lf + before, i), keep = std::exp(lf + before - m);
            Row kt = naive_row(k, h, q.heads, t);
            for (double& e : kt) e *= naive_scale(x.scale, q.dim) * std::exp(i - m);
            naive_multiply(r, h, keep);
            naive_add(r, h, kt, naive_row(v, h, q.heads, t));
            for (std::int64_t d = 0; d < q.dim; ++d) r.z_row(h)[d] = keep * r.z_row(h)[d] + kt.data()[d];
            r.key_max.data()[h] = m;
            const Row qt = naive_row(q, h, q.heads, t), y = naive_read(r, h, qt);
            const double den = naive_max(std::abs(naive_dot(r.z_row(h), qt)), std::exp(-m)) + double{x.eps};
            for (std::int64_t e = 0; e < v.dim; ++e) r.o_row(h, t)[e] = y.data()[e] / den;
        }
    return r;
}

using Options = attenta::MlstmOptions;

/// Denominators away from 0: rounding of q·n would be seen as a multiple of itself.
void fill(LinearCase& c) {
    const std::int64_t H = c.shape.Hk;
    c.put_uniform("q", Along::queries, H, c.shape.D, 0.1, 1);
    c.put_uniform("k", Along::keys, H, c.shape.D, 0.1, 1);
    c.put_normal("gate_f", Along::keys, H, 1);
    change(c, "gate_f", [](float f) { return f + 2; });
}

LinearState past(const LinearCase& c) {
    LinearCase drawn = c.copy();
    LinearState s(c.shape.Hk, c.shape.D, c.shape.Dv);
    for (float& x : s.matrix) x = 0.5f * drawn.random.normal();
    s.normalizer = drawn.random.normals(c.shape.Hk * c.shape.D);
    for (float& x : s.normalizer) x = 0.5f + std::abs(x);
    s.key_max = drawn.random.normals(c.shape.Hk);
    return s;
}

const LinearMechanism& mlstm = []() -> const LinearMechanism& {
    LinearMechanism m{"mlstm",
                      {{"scale 1.5, eps",
                        [](LinearCase& c) { options_of<Options>(c).scale = 1.5f, options_of<Options>(c).eps = 1e-3f; }},
                       {"forget in log",
                        [](LinearCase& c) {
                            options_of<Options>(c).forget = attenta::MlstmForget::log;
                            c.put_gates("gate_f", Along::keys, c.shape.Hk, 1);
                        }},
                       {"large gates",
                        [](LinearCase& c) {
                            c.put_normal("gate_i", Along::keys, c.shape.Hk, 1, 15);
                            c.put_normal("gate_f", Along::keys, c.shape.Hk, 1, 15);
                        }}},
                      fill};
    m.past = past;
    return test_linear<&attenta::mlstm, naive_mlstm>(std::move(m));
}();

TEST(Mlstm, WhatIsForgottenBeyondAFloatGivesZero) {
    LinearCase c = linear_case(mlstm, {1, 1, 1, 40, 8, 8}, Gates::mild);
    change(c, "gate_f", [](float) { return -10.f; });
    change(c, "gate_i", [](float) { return -500.f; });
    on_every_isa([&](Context& context) {
        const LinearOutput got = attend(c, context);
        for (const float x : rows_of(got.o)) ASSERT_NEAR(x, 0, 1e-6f);
        EXPECT_TRUE(std::isfinite(got.state.key_max[0]));
    });
}

TEST(MlstmErrors, GatesScaleAndEps) {
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    const OwnErrors errors(mlstm);
    EXPECT_TRUE(errors.refused({"gate_i", "1", "2"}, [](Call& c) { c.x.at("gate_i").heads = 1; }));
    EXPECT_TRUE(errors.refused({"gate_f", "2"}, [](Call& c) { c.x.at("gate_f").dim = 2; }));
    for (const float eps : {-1e-6f, nan})
        EXPECT_TRUE(errors.refused({"eps"}, [eps](Call& c) { c.options<Options>().eps = eps; })) << eps;
    EXPECT_TRUE(refused(Call(mlstm, 2), {"mlstm", "gate_f", "0.250000"}, [](Call& c) {
        c.options<Options>().check_data = true;
        *const_cast<float*>(c.x.at("gate_f").data) = 0.25f;
    }));
}

}  // namespace
}  // namespace attenta_test
