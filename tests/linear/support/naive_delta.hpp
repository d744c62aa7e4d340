// The delta rules: delta_rule, gated_delta_rule, kda, which differ in their gates.
#pragma once

#include <attenta/linear/delta/delta_rule.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "spoiled.hpp"

namespace attenta_test {

/// x / sqrt(Σ x² + eps)
inline Row naive_unit(Row x, double eps) {
    const double norm = std::sqrt(naive_dot(x.data(), x) + eps);
    for (double& e : x) e /= norm;
    return x;
}

//   S ← diag(exp g_t) S_{t-1};   S_t = S + β_t k_t (v_t − Sᵀ k_t)ᵀ;   o_t = scale · S_tᵀ q_t
//
// g is empty for delta_rule, [Hs, T, 1] for gated_delta_rule and [Hs, T, D] for kda.
inline NaiveLinear naive_delta(View q, View k, View v, View g, View beta, const attenta::DeltaRuleOptions& x,
                               const LinearState& past) {
    const std::int64_t hs = std::max(k.heads, v.heads);
    NaiveLinear r = naive_start(std::max(q.heads, hs), q.tokens, hs, q.dim, v.dim, past);
    const auto normed = [&](Row row) { return x.qk_l2norm ? naive_unit(std::move(row), double{x.eps}) : row; };
    for (std::int64_t h = 0; h < hs; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            naive_decay(r, h, g, t);
            const Row kt = normed(naive_row(k, h, hs, t)), predicted = naive_read(r, h, kt);
            Row correction = naive_row(v, h, hs, t);
            for (std::size_t e = 0; e < correction.size(); ++e)
                correction[e] = double{beta.row(h, t)[0]} * (correction[e] - predicted[e]);
            naive_add(r, h, kt, correction);
            for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i) {
                const Row y = naive_read(r, h, normed(naive_row(q, i, r.heads, t)));
                for (std::int64_t e = 0; e < v.dim; ++e) r.o_row(i, t)[e] = naive_scale(x.scale, q.dim) * y.data()[e];
            }
        }
    return r;
}

/// x ⊙ y
inline Row naive_gated(Row x, const float* y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] *= double{y[i]};
    return x;
}

/// o_i = scale · S_hᵀ q_i, with q_i / sqrt(Σ q² + eps) where the options say so.
template <class Options>
void naive_read_heads(NaiveLinear& r, std::int64_t h, View q, std::int64_t t, const Options& x) {
    for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i) {
        Row qt = naive_row(q, i, r.heads, t);
        if (x.qk_l2norm) qt = naive_unit(std::move(qt), double{x.eps});
        const Row y = naive_read(r, h, qt);
        for (std::int64_t e = 0; e < r.dim_v; ++e) r.o_row(i, t)[e] = naive_scale(x.scale, q.dim) * y.data()[e];
    }
}

/// beta in (0.05, 0.95) and keys of length 1, so that the state does not grow.
inline void fill_delta(LinearCase& c) {
    c.put_units("k", Along::keys, c.shape.Hk, c.shape.D);
    c.put_uniform("beta", Along::keys, state_heads(c), 1, 0.05, 0.95);
}

inline std::vector<LinearVariant> delta_variants() {
    using Options = attenta::DeltaRuleOptions;
    return {{"scale -1.5", [](LinearCase& c) { options_of<Options>(c).scale = -1.5f; }},
            {"qk_l2norm",
             [](LinearCase& c) {
                 options_of<Options>(c).qk_l2norm = true;
                 c.put_normal("k", Along::keys, c.shape.Hk, c.shape.D, 3);
             }},
            {"qk_l2norm, eps 0.5",
             [](LinearCase& c) {
                 options_of<Options>(c).qk_l2norm = true, options_of<Options>(c).eps = 0.5f;
                 c.put_normal("k", Along::keys, c.shape.Hk, c.shape.D);
             }},
            {"beta up to 1.9", [](LinearCase& c) { c.put_uniform("beta", Along::keys, state_heads(c), 1, 0.1, 1.9); }},
            {"beta 0", [](LinearCase& c) { c.put_uniform("beta", Along::keys, state_heads(c), 1, 0, 0); }},
            {"one key, beta 1", [](LinearCase& c) {
                 c.put_uniform("beta", Along::keys, state_heads(c), 1, 1, 1);
                 const View k = c.inputs.find("k")->second.tensor.view();
                 c.inputs.find("k")->second.tensor.each_row(
                     [&](float* row, std::int64_t h, std::int64_t) { std::copy_n(k.row(h, 0), k.dim, row); });
             }}};
}

inline void expect_delta_errors(const LinearMechanism& m) {
    constexpr float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
    const OwnErrors errors(m);
    expect_errors_of_free_heads(m);
    EXPECT_TRUE(errors.refused({"beta", "1", "2"}, [](Call& c) { c.x.at("beta").heads = 1; }));
    EXPECT_TRUE(errors.refused({"beta", "5", "6"}, [](Call& c) { c.x.at("beta").tokens = 5; }));
    EXPECT_TRUE(errors.refused({"beta", "2"}, [](Call& c) { c.x.at("beta").dim = 2; }));
    for (const float eps : {-1e-6f, nan, infinity})
        EXPECT_TRUE(errors.refused({"eps"}, [eps](Call& c) {
            c.options<attenta::DeltaRuleOptions>().qk_l2norm = true, c.options<attenta::DeltaRuleOptions>().eps = eps;
        })) << eps;
}

}  // namespace attenta_test
