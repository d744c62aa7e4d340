// Latte equals its definition; its window; its own errors.
#include <attenta/linear/features/latte.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "linear/support/naive_features.hpp"

namespace attenta_test {
namespace {

using Options = attenta::LatteOptions;

Row naive_softmax(Row x) {
    const double top = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (double& e : x) sum += e = std::exp(e - top);
    for (double& e : x) e /= sum;
    return x;
}

/// Σ_j softmax(window_q_i·window_k_j / sqrt(Dw)) v_j over i − window < j <= i, i the position of query t.
Row naive_near(const attenta::LatteInputs& in, std::int64_t window, std::int64_t head, std::int64_t t) {
    const auto& [q, k, v, window_q, window_k] = in;
    const std::int64_t last = k.tokens - q.tokens + t, first = std::max<std::int64_t>(last - window + 1, 0);
    Row scores, o(static_cast<std::size_t>(v.dim));
    const Row query = naive_row(window_q, head, q.heads, t);
    for (std::int64_t j = first; j <= last; ++j)
        scores.push_back(naive_dot(naive_row(window_k, head, q.heads, j).data(), query) /
                         std::sqrt(static_cast<double>(window_q.dim)));
    scores = naive_softmax(scores);
    for (std::int64_t j = first; j <= last; ++j)
        for (std::int64_t e = 0; e < v.dim; ++e)
            o.data()[e] += scores.data()[j - first] * naive_row(v, head, q.heads, j).data()[e];
    return o;
}

//   m' = max(m, scale k_j),  S = exp(m − m') S + exp(scale k_j − m') v_jᵀ,  n likewise,  per latent
//   o_i = Σ_l softmax_l(scale q_i) S_l / n_l   (+ the first share times what the window reads)
NaiveLinear naive_latte(const attenta::LatteInputs& in, const Options& x, const LinearState& past) {
    const auto &q = in.q, &k = in.k, &v = in.v;
    const std::int64_t L = k.dim, seen_first = x.causal ? k.tokens - q.tokens + 1 : k.tokens;
    NaiveLinear r = naive_start(q.heads, q.tokens, k.heads, L, v.dim, past);
    r.normalizer = naive_past(past.normalizer, k.heads * L);
    r.key_max = naive_past(past.key_max, k.heads * L);
    for (std::int64_t h = 0; h < k.heads; ++h) {
        std::int64_t seen = 0;
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            for (; seen < (x.causal ? seen_first + t : k.tokens); ++seen)
                for (std::int64_t l = 0; l < L; ++l) {
                    double &m = r.key_max.data()[h * L + l], &n = r.z_row(h)[l];
                    const double key = double{x.scale} * double{k.row(h, seen)[l]};
                    const double now = n == 0 ? key : std::isnan(key) ? key : std::max(m, key);
                    const double back = n == 0 ? 0 : std::exp(m - now), add = std::exp(key - now);
                    for (std::int64_t e = 0; e < v.dim; ++e)
                        r.s_row(h, l)[e] = back * r.s_row(h, l)[e] + add * double{v.row(h, seen)[e]};
                    n = back * n + add;
                    m = now;
                }
            for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i) {
                Row p = naive_row(q, i, q.heads, t);
                for (double& e : p) e *= double{x.scale};
                p = naive_softmax(p);
                const double first = p[0];
                if (x.window > 0) p.erase(p.begin());
                for (std::int64_t l = 0; l < L; ++l) p.data()[l] /= r.z_row(h)[l];
                Row o = naive_read(r, h, p);
                if (x.window > 0) {
                    const Row near = naive_near(in, x.window, i, t);
                    for (std::size_t e = 0; e < o.size(); ++e) o[e] += first * near[e];
                }
                std::copy(o.begin(), o.end(), r.o_row(i, t));
            }
        }
    }
    return r;
}

const LinearMechanism& latte = test_linear<&attenta::latte, naive_latte>(
    {.name = "latte",
     .variants = {{"scale -0.7", [](LinearCase& c) { options_of<Options>(c).scale = -0.7f; }},
                  {"large logits, later ones larger",
                   [](LinearCase& c) {
                       change(c, "q", [](float x) { return 20 * x; });
                       const Tensor<float>& k = c.inputs.find("k")->second.tensor;
                       k.each_row([&](float* row, std::int64_t, std::int64_t t) {
                           for (std::int64_t l = 0; l < c.shape.D; ++l)
                               row[l] = 30 * row[l] + (t > c.shape.T / 2 ? 90.f : 0.f);
                       });
                   }},
                  {"not causal", [](LinearCase& c) { options_of<Options>(c).causal = false; }},
                  {"causal with history",
                   [](LinearCase& c) { set_queries(c, std::max<std::int64_t>(c.shape.T / 3, 1)); }},
                  {"more queries than keys",
                   [](LinearCase& c) {
                       options_of<Options>(c).causal = false;
                       set_queries(c, c.shape.T + 5);
                   }}},
     .has_history = true,
     .can_be_cut = [](const LinearCase& c) { return options_of<Options>(c).causal; }});

LinearCase windowed(std::int64_t T, std::int64_t window, std::int64_t Tq) {
    LinearCase c = linear_case(latte, {4, 2, 2, T, 24, 9}, Gates::mild, 0, false, static_cast<std::uint64_t>(T));
    c.shape.Tq = Tq;
    c.put_normal("q", Along::queries, 4, 25);
    c.put_normal("window_q", Along::queries, 4, 7);
    c.put_normal("window_k", Along::keys, 2, 7);
    options_of<Options>(c).window = window;
    return c;
}

TEST(Latte, TheWindowHasAShareOfItsOwn) {
    std::vector<LinearCase> cases;
    for (const std::int64_t T : {1, 4, 40, 300})
        for (const std::int64_t window : {1, 5, 1000})
            for (const std::int64_t Tq : {T, (T + 2) / 3}) cases.push_back(windowed(T, window, Tq));
    expect_definition(cases);
}

TEST(LatteErrors, Latents) { expect_feature_errors(latte); }

TEST(LatteErrors, Windows) {
    const OwnErrors errors(latte);
    EXPECT_TRUE(errors.refused({"window", "-1"}, [](Call& c) { c.options<Options>().window = -1; }));
    EXPECT_TRUE(errors.refused({"15", "16"}, [](Call& c) { c.options<Options>().window = 3; }));
    LinearCase c = windowed(6, 3, 6);
    Tensor<float> o(4, 6, 9);
    const auto refused = [&](Words words, auto&& spoil) {
        LinearViews x = c.views();
        LinearOptions options = c.options;
        LinearState state;
        spoil(x, std::any_cast<Options&>(options), state);
        return refuses([&] { latte.call(x, options, o.view(), state, attenta::default_context()); }, words);
    };
    EXPECT_TRUE(refused({"latte", "causal"}, [](auto&, Options& options, auto&) { options.causal = false; }));
    EXPECT_TRUE(refused({"latte", "window_q"}, [](LinearViews& x, auto&...) { x.at("window_q").data = nullptr; }));
    EXPECT_TRUE(refused({"latte", "window_k"}, [](LinearViews& x, auto&...) { x.at("window_k").data = nullptr; }));
    EXPECT_TRUE(refused({"latte", "6", "7"}, [](LinearViews& x, auto&...) { x.at("window_k").dim = 6; }));
    EXPECT_TRUE(refused({"latte", "25", "24"}, [](auto&, Options& options, auto&) { options.window = 0; }));
    EXPECT_TRUE(refused({"latte", "state", "window"}, [](auto&, auto&, LinearState& state) {
        state = LinearState(2, 24, 9);
        state.normalizer.resize(48), state.key_max.resize(48);
    }));
}

}  // namespace
}  // namespace attenta_test
