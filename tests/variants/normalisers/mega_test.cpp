#include <attenta/variants/scores/mega.hpp>

#include <cmath>
#include <functional>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"
#include "variants/support/naive_mega.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::Matrices, attenta::MegaActivation, attenta::MegaBias, attenta::MegaInputs,
    attenta::MegaOptions;

/// The tensors of a layer.
struct Layer {
    Layer(std::int64_t tokens, std::int64_t d, std::int64_t n, std::int64_t s, std::int64_t e, bool both)
        : T(tokens), D(d), N(n), S(s), E(e), M(both ? 2 * d : d) {
        inputs = {matrix(T, D),
                  matrix(T, D),
                  matrix(M, N),
                  matrix(M, N),
                  matrix(M, N),
                  matrix(M, N),
                  vector(D),
                  matrix(D, 2 * D + S + E),
                  vector(2 * D + S + E),
                  matrix(2, S),
                  matrix(2, S),
                  matrix(D, E),
                  vector(E),
                  matrix(E, D),
                  vector(D)};
    }
    Matrices<const float> matrix(std::int64_t rows, std::int64_t cols) {
        memory.push_back(random.normals(static_cast<std::size_t>(rows * cols)));
        for (float& x : memory.back()) x *= rows > 2 ? 1 / std::sqrt(static_cast<float>(rows)) : 1;
        return {memory.back().data(), 1, rows, cols};
    }
    std::span<const float> vector(std::int64_t n) {
        memory.push_back(random.normals(static_cast<std::size_t>(n)));
        return memory.back();
    }

    std::int64_t T, D, N, S, E, M;
    Random random{5};
    std::deque<std::vector<float>> memory;
    MegaInputs inputs;
};

double silu(double x) { return x * naive_logistic(x); }

/// y = x w + b, rows of tokens.
std::vector<Row> project(const std::vector<Row>& x, const Matrices<const float>& w, std::span<const float> b) {
    std::vector<Row> y(x.size(), Row(static_cast<std::size_t>(w.cols)));
    for (std::size_t t = 0; t < x.size(); ++t)
        for (std::int64_t c = 0; c < w.cols; ++c) {
            double sum = double{b[static_cast<std::size_t>(c)]};
            for (std::int64_t r = 0; r < w.rows; ++r) sum += x[t][static_cast<std::size_t>(r)] * double{w.row(0, r)[c]};
            y[t][static_cast<std::size_t>(c)] = sum;
        }
    return y;
}

std::vector<Row> rows_of(const Matrices<const float>& x) {
    std::vector<Row> rows;
    for (std::int64_t t = 0; t < x.rows; ++t) rows.push_back(wide(x.row(0, t), x.cols));
    return rows;
}

/// silu of the damped averages of x, from the first token on, and from the last.
std::vector<Row> average(const MegaInputs& x, bool both) {
    const std::int64_t T = x.x.rows, D = x.x.cols, N = x.delta.cols;
    std::vector<Row> y = rows_of(x.x);
    for (Row& row : y)
        for (std::int64_t c = 0; c < D; ++c)
            row[static_cast<std::size_t>(c)] *= double{x.omega[static_cast<std::size_t>(c)]};
    for (std::int64_t m = 0; m < (both ? 2 * D : D); ++m)
        for (std::int64_t n = 0; n < N; ++n) {
            const double p = naive_logistic(double{x.delta.row(0, m)[n]}),
                         phi = 1 - p * naive_logistic(double{x.alpha.row(0, m)[n]});
            const std::int64_t c = m % D;
            double h = 0;
            for (std::int64_t step = 0; step < T; ++step) {
                const std::int64_t t = m < D ? step : T - 1 - step;
                h = phi * h + p * double{x.beta.row(0, m)[n]} * double{x.x.row(0, t)[c]};
                y[static_cast<std::size_t>(t)][static_cast<std::size_t>(c)] +=
                    double{x.gamma.row(0, m)[n]} * h / std::sqrt(static_cast<double>(N));
            }
        }
    for (Row& row : y)
        for (double& v : row) v = silu(v);
    return y;
}

std::vector<float> narrow(const std::vector<Row>& x) {
    std::vector<float> y;
    for (const Row& row : x) y.insert(y.end(), row.begin(), row.end());
    return y;
}

std::vector<Row> definition(const Layer& l, const MegaBias& bias, const MegaOptions& o) {
    const MegaInputs& x = l.inputs;
    const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    const auto base = project(average(x, o.bidirectional), x.w_mx, x.b_mx);
    auto v = project(rows_of(x.x), x.w_v, x.b_v);
    std::vector<Row> q(base.size(), Row(at(l.S))), k = q;
    for (std::size_t t = 0; t < base.size(); ++t) {
        for (double& y : v[t]) y = silu(y);
        for (std::int64_t c = 0; c < l.S; ++c) {
            const double z = silu(base[t][at(l.D + c)]);
            q[t][at(c)] = z * double{x.gamma_qk.row(0, 0)[c]} + double{x.beta_qk.row(0, 0)[c]};
            k[t][at(c)] = z * double{x.gamma_qk.row(0, 1)[c]} + double{x.beta_qk.row(0, 1)[c]};
        }
    }
    const auto fq = narrow(q), fk = narrow(k), fv = narrow(v);
    attenta::MegaAttentionOptions attention{.activation = o.activation, .chunk = o.chunk};
    attention.visibility.causal = o.causal;
    const Naive a = naive_mega_attention(
        {attenta::hnd(fq.data(), 1, l.T, l.S),
         KvView::of(attenta::hnd(fk.data(), 1, l.T, l.S), attenta::hnd(fv.data(), 1, l.T, l.E)), bias},
        attention);
    std::vector<Row> gated(base.size(), Row(at(l.E)));
    for (std::size_t t = 0; t < base.size(); ++t)
        for (std::int64_t c = 0; c < l.E; ++c)
            gated[t][at(c)] = a.o[t * at(l.E) + at(c)] * silu(base[t][at(l.D + l.S + c)]);
    auto h = project(gated, x.w_h, x.b_h);
    for (std::size_t t = 0; t < h.size(); ++t)
        for (std::int64_t c = 0; c < l.D; ++c) {
            const double old = double{x.residual.row(0, static_cast<std::int64_t>(t))[c]};
            const double u = naive_logistic(base[t][at(c)]);
            h[t][at(c)] = old + u * (silu(base[t][at(l.D + l.S + l.E + c)] + h[t][at(c)]) - old);
        }
    return h;
}

void expect_definition(Layer& l, const MegaBias& bias, const MegaOptions& o) {
    const auto want = definition(l, bias, o);
    on_every_isa([&](Context& context) {
        Tensor<float> y(1, l.T, l.D, Order::head_token, 3);
        attenta::mega(l.inputs, bias, {{y.view().data, 1, l.T, l.D, y.view().token_stride}}, o, context);
        EXPECT_TRUE(y.padding_is_untouched());
        for (std::int64_t t = 0; t < l.T; ++t)
            for (std::int64_t c = 0; c < l.D; ++c)
                ASSERT_NEAR(y.row(0, t)[c], want[static_cast<std::size_t>(t)][static_cast<std::size_t>(c)], 1e-4)
                    << "token " << t << ", channel " << c;
    });
}

TEST(Mega, EqualsItsDefinition) {
    Layer causal(31, 17, 3, 10, 23, false), both(26, 14, 2, 8, 19, true), one(1, 9, 1, 2, 5, false);
    expect_definition(causal, {}, {.causal = true});
    expect_definition(one, {}, {.causal = true});
    expect_definition(both, {.bias_q = both.vector(8), .bias_k = both.vector(8)},
                      {.activation = MegaActivation::laplace, .bidirectional = true});
    expect_definition(causal, {.rel_bias = causal.vector(25)},
                      {.activation = MegaActivation::relu2, .chunk = 13, .causal = true});
}

/// Later tokens change nothing of a causal layer.
TEST(Mega, IsCausal) {
    Layer l(31, 17, 3, 10, 23, false);
    std::vector<float> before(31 * 17), after(31 * 17);
    attenta::mega(l.inputs, {}, {{before.data(), 1, 31, 17}}, {.causal = true});
    for (std::size_t i = 25 * 17; i < 31 * 17; ++i) l.memory[0][i] *= -3;
    attenta::mega(l.inputs, {}, {{after.data(), 1, 31, 17}}, {.causal = true});
    for (std::size_t i = 0; i < 25 * 17; ++i) EXPECT_EQ(before[i], after[i]);
}

TEST(Mega, RefusesWhatDoesNotFit) {
    Layer l(12, 6, 2, 4, 5, false);
    const auto refused = [&](std::initializer_list<std::string_view> words, auto&& spoil) {
        MegaInputs x = l.inputs;
        MegaBias bias;
        MegaOptions o;
        std::vector<float> y(12 * 6, untouched<float>());
        attenta::MegaOutputs out{{y.data(), 1, 12, 6}};
        spoil(x, bias, o, out);
        const auto result = refuses([&] { attenta::mega(x, bias, out, o); }, words);
        for (const float v : y) EXPECT_TRUE(std::isnan(v));
        return result;
    };
    using In = MegaInputs;
    using Out = attenta::MegaOutputs;
    EXPECT_TRUE(refused({"mega", "w_mx"}, [](In& x, auto&, auto&, Out&) { x.w_mx.cols -= 1; }));
    EXPECT_TRUE(refused({"mega", "gamma_qk", "1", "2"}, [](In& x, auto&, auto&, Out&) { x.gamma_qk.rows = 1; }));
    EXPECT_TRUE(refused({"mega", "1", "2"}, [](In& x, auto&, auto&, Out&) { x.gamma_qk.rows = x.beta_qk.rows = 1; }));
    EXPECT_TRUE(refused({"mega", "w_h"}, [](In& x, auto&, auto&, Out&) { x.w_h.rows -= 1; }));
    EXPECT_TRUE(refused({"mega", "delta"}, [](In&, auto&, MegaOptions& o, Out&) { o.bidirectional = true; }));
    EXPECT_TRUE(refused({"mega", "x", "null"}, [](In& x, auto&, auto&, Out&) { x.x.data = nullptr; }));
    EXPECT_TRUE(refused({"mega", "b_h"}, [](In& x, auto&, auto&, Out&) { x.b_h = x.b_h.first(5); }));
    EXPECT_TRUE(refused({"mega", "bias_q"},
                        [&](In&, MegaBias& b, auto&, Out&) { b.bias_q = l.inputs.omega, b.bias_k = l.inputs.omega; }));
    EXPECT_TRUE(refused({"mega", "rel_bias", "12"},
                        [&](In&, MegaBias& b, auto&, Out&) { b.rel_bias = l.inputs.omega.first(5); }));
    EXPECT_TRUE(refused({"mega", "chunk"}, [](In&, auto&, MegaOptions& o, Out&) { o.chunk = 0; }));
    EXPECT_TRUE(refused({"mega", "o"}, [](In&, auto&, auto&, Out& out) { out.o.cols = 5; }));
    EXPECT_TRUE(refused({"mega", "v", "o"}, [](In&, auto&, auto&, Out& out) { out.v = {out.o.data, 1, 12, 5}; }));
    EXPECT_TRUE(refused({"mega", "o", "x"},
                        [&](In&, auto&, auto&, Out& out) { out.o.data = const_cast<float*>(l.inputs.x.data); }));
}

}  // namespace
}  // namespace attenta_test
