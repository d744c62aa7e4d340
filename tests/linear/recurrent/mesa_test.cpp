// The mesa layer equals its definition; its own errors.
#include <attenta/linear/recurrent/mesa.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "linear/support/compare.hpp"
#include "linear/support/spoiled.hpp"

namespace attenta_test {
namespace {

/// Of M x = b by elimination; M is positive definite.
Row naive_solve(std::vector<Row> m, Row b) {
    const std::size_t n = b.size();
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t r = i + 1; r < n; ++r) {
            const double f = m[r][i] / m[i][i];
            for (std::size_t c = i; c < n; ++c) m[r][c] -= f * m[i][c];
            b[r] -= f * b[i];
        }
    for (std::size_t i = n; i-- > 0;) {
        for (std::size_t c = i + 1; c < n; ++c) b[i] -= m[i][c] * b[c];
        b[i] /= m[i][i];
    }
    return b;
}

//   R_t = e^g R_{t-1} + β k kᵀ,   S_t = e^g S_{t-1} + β k vᵀ,   o_t = S_tᵀ (R_t + diag(ridge))⁻¹ q_t
NaiveLinear naive_mesa(const attenta::MesaInputs& in, const attenta::MesaOptions&, const LinearState& past) {
    const auto& [q, k, v, g, beta, ridge] = in;
    const std::int64_t hs = std::max(k.heads, v.heads), D = k.dim;
    NaiveLinear r = naive_start(std::max(q.heads, hs), q.tokens, hs, D, v.dim, past);
    r.normalizer = naive_past(past.normalizer, hs * D * D);
    for (std::int64_t h = 0; h < hs; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            const Row kt = naive_row(k, h, hs, t);
            Row added = kt;
            for (double& e : added) e *= double{beta.row(h, t)[0]};
            naive_decay(r, h, g, t);
            naive_add(r, h, added, naive_row(v, h, hs, t));
            std::vector<Row> m(static_cast<std::size_t>(D), Row(static_cast<std::size_t>(D)));
            for (std::int64_t d = 0; d < D; ++d)
                for (std::int64_t e = 0; e < D; ++e) {
                    double& x = r.normalizer.data()[(h * D + d) * D + e];
                    x = std::exp(naive_gate(g, h, t, 0)) * x + added.data()[d] * kt.data()[e];
                    m.data()[d].data()[e] = x + (d == e ? double{ridge.row(h, 0)[d]} : 0);
                }
            for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i) {
                const Row y = naive_read(r, h, naive_solve(m, naive_row(q, i, r.heads, t)));
                std::copy(y.begin(), y.end(), r.o_row(i, t));
            }
        }
    return r;
}

/// Keys of length 1.
void fill(LinearCase& c) {
    c.put_units("q", Along::queries, c.shape.Hq, c.shape.D);
    c.put_units("k", Along::keys, c.shape.Hk, c.shape.D);
    c.put_uniform("beta", Along::keys, state_heads(c), 1, 0.1, 1);
    c.put_uniform("ridge", Along::nothing, state_heads(c), c.shape.D, 0.25, 1.5);
}

/// R of two keys for each channel.
LinearState past(const LinearCase& c) {
    LinearCase drawn = c.copy();
    const std::int64_t D = c.shape.D;
    LinearState s(state_heads(c), D, c.shape.Dv);
    for (float& x : s.matrix) x = 0.5f * drawn.random.normal();
    s.normalizer.resize(static_cast<std::size_t>(s.heads * D * D));
    for (std::int64_t h = 0; h < s.heads; ++h)
        for (std::int64_t i = 0; i < std::min<std::int64_t>(2 * D, 32); ++i) {
            const std::vector<float> k = drawn.random.normals(D);
            for (std::int64_t d = 0; d < D; ++d)
                for (std::int64_t e = 0; e < D; ++e)
                    s.normalizer.data()[(h * D + d) * D + e] += 0.1f * k.data()[d] * k.data()[e];
        }
    return s;
}

const LinearMechanism& mesa = test_linear<&attenta::mesa, naive_mesa>(
    {.name = "mesa",
     .variants = {{"ridge 0.05", [](LinearCase& c) { change(c, "ridge", [](float) { return 0.05f; }); }},
                  {"long queries, no beta",
                   [](LinearCase& c) {
                       change(c, "q", [](float x) { return 300 * x; });
                       change(c, "beta", [](float) { return 0.f; });
                   }}},
     .fill = fill,
     .past = past,
     .most_dim = 64,
     .wide_tokens = 200});

/// R in several pieces of products.
TEST(Mesa, HoldsForWideKeys) {
    LinearCase c(mesa, {2, 1, 1, 40, 150, 270}, Gates::mild, 3);
    draw_inputs(c);
    fill(c);
    c.options = mesa.options;
    std::vector<LinearCase> cases;
    cases.push_back(std::move(c));
    expect_definition(cases);
}

/// Queries of any size have the same digits.
TEST(Mesa, QueriesMayBeOfAnySize) {
    for (const float size : {1e-30f, 1e30f}) {
        const LinearCase c = linear_case(mesa, {2, 1, 1, 40, 16, 9}, Gates::mild, 0, true), other = c.copy();
        LinearCase scaled = c.copy();
        change(scaled, "q", [size](float x) { return size * x; });
        on_every_isa([&](Context& context) {
            const LinearOutput want = attend(c, context), got = attend(scaled, context);
            got.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
                for (std::int64_t i = 0; i < 9; ++i)
                    EXPECT_NEAR(double{row[i] / size}, double{want.o.row(h, t)[i]}, 1e-5);
            });
        });
    }
}

TEST(Mesa, AQueryOfZerosReadsZeros) {
    LinearCase c = linear_case(mesa, {2, 1, 1, 40, 16, 9}, Gates::mild, 0, true);
    change(c, "q", [](float) { return 0.f; });
    Context context;
    for (const float x : rows_of(attend(c, context).o)) EXPECT_EQ(x, 0.f);
}

TEST(MesaErrors, HeadsWidthsRidgeAndBeta) {
    const OwnErrors errors(mesa);
    expect_errors_of_free_heads(mesa);
    EXPECT_TRUE(errors.refused({"beta", "1", "2"}, [](Call& c) { c.x.at("beta").heads = 1; }));
    for (const float ridge : {0.f, -1.f}) {
        EXPECT_TRUE(
            errors.refused({"ridge", "> 0"}, [=](Call& c) { change(c.c, "ridge", [=](float) { return ridge; }); }));
    }
    EXPECT_TRUE(errors.refused({"beta", "-0.500000"}, [](Call& c) {
        c.options<attenta::MesaOptions>().check_data = true;
        change(c.c, "beta", [](float) { return -0.5f; });
    }));
    EXPECT_TRUE(
        refused_state(Call(mesa, 0, true), {"normalizer", "512"}, [](LinearState& s) { s.normalizer.resize(16); }));
}

}  // namespace
}  // namespace attenta_test
