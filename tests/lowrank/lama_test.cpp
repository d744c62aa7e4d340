// LAMA equals its definition; scores of any size over the heads; its own errors.
#include <attenta/lowrank/lama.hpp>

#include "lowrank/support/lowrank.hpp"

namespace attenta_test {
namespace {

using attenta::lama, attenta::LamaActivation, attenta::LamaInputs, attenta::LamaOptions;

struct NaiveLama {
    Mat o, weights;
};

/// f_ht = φ((p_h·c) (q_h·x_t)), f / |f| over the heads, a = softmax over t, o = a x
NaiveLama naive_lama(const LamaInputs& in, const LamaOptions& options) {
    const auto matrix = [](const attenta::Matrices<const float>& m) {
        return Mat(View{m.data, 1, m.rows, m.cols, 0, m.row_stride}, 0);
    };
    const Mat x = matrix(in.x), p = matrix(in.p_weight), q = matrix(in.q_weight);
    Mat c(x.cols(), 1);
    for (std::int64_t d = 0; d < x.cols(); ++d) {
        for (std::int64_t t = 0; t < x.rows(); ++t) c(d, 0) += x(t, d) / static_cast<double>(x.rows());
        if (!in.context.empty()) c(d, 0) = double{in.context[static_cast<std::size_t>(d)]};
    }
    const Mat gain = p * c;
    Mat f = q * x.transposed();
    for (std::int64_t t = 0; t < x.rows(); ++t) {
        double squares = 0;
        for (std::int64_t h = 0; h < p.rows(); ++h) {
            f(h, t) *= gain(h, 0);
            if (options.activation == LamaActivation::tanh) f(h, t) = std::tanh(f(h, t));
            squares += f(h, t) * f(h, t);
        }
        for (std::int64_t h = 0; h < p.rows() && options.normalize_heads && squares > 0; ++h)
            f(h, t) /= std::sqrt(squares);
    }
    const Mat weights = softmax_rows(f);
    return {weights * x, weights};
}

struct Drawn {
    Tensor<float> x, p, q;
    std::vector<float> context;

    Drawn(std::int64_t T, std::int64_t D, std::int64_t H, bool has_context, float gain = 1) {
        Random random(17);
        x = random_tensor(random, 1, T, D, Order::head_token, 3, gain);
        p = random_tensor(random, 1, H, D, Order::head_token, 1, 0.5f);
        q = random_tensor(random, 1, H, D, Order::head_token, 2, 0.5f);
        if (has_context) context = random.normals(D);
    }
    LamaInputs inputs() const {
        const auto matrix = [](const View& v) {
            return attenta::Matrices<const float>{v.data, 1, v.tokens, v.dim, v.token_stride};
        };
        return {matrix(x.view()), matrix(p.view()), matrix(q.view()), context};
    }
};

void expect_definition(const Drawn& d, const LamaOptions& options) {
    const LamaInputs x = d.inputs();
    const NaiveLama want = naive_lama(x, options);
    for (const bool weights : {true, false})
        expect_heads({want.o}, [&](attenta::Heads<float> o, Context& context) {
            std::vector<float> a(static_cast<std::size_t>(x.p_weight.rows * x.x.rows));
            lama(x, {{o.data, 1, o.tokens, o.dim, o.token_stride}, weights ? a.data() : nullptr}, options, context);
            if (weights) {
                EXPECT_TRUE(is_close(a.data(), x.x.rows, want.weights));
            }
        });
}

TEST(Lama, EqualsItsDefinition) {
    for (const auto& [T, D, H] :
         {std::array<std::int64_t, 3>{1, 1, 1}, {29, 18, 5}, {40, 11, 3}, {33, 64, 4}, {2100, 24, 7}})
        for (const bool context : {false, true})
            for (const LamaActivation activation : {LamaActivation::tanh, LamaActivation::linear})
                for (const bool normalize : {true, false}) {
                    SCOPED_TRACE(testing::Message() << "T " << T << " D " << D << " H " << H << normalize);
                    expect_definition(Drawn(T, D, H, context), {activation, normalize});
                }
}

/// Scores whose squares overflow or vanish keep their direction; a token of zeros has scores 0.
TEST(Lama, NormalisesScoresOfAnySize) {
    for (const float gain : {1e-18f, 1e-8f, 3e12f}) {
        Drawn d(19, 12, 3, true, gain);
        std::fill_n(d.x.row(0, 4), 12, 0.f);
        const LamaInputs x = d.inputs();
        const NaiveLama want = naive_lama(x, {LamaActivation::linear, true});
        std::vector<float> o(3 * 12), weights(3 * 19);
        lama(x, {{o.data(), 1, 3, 12}, weights.data()}, {LamaActivation::linear, true});
        EXPECT_TRUE(is_close(weights.data(), 19, want.weights)) << gain;
    }
}

TEST(LamaErrors, SaysWhatDoesNotFit) {
    const Drawn d(9, 8, 3, true);
    const View sizes{nullptr, 1, 3, 8, 0, 0};
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        LamaInputs x = d.inputs();
        change(x);
        return refuses_to_write(
            sizes,
            [&](attenta::Heads<float> to) {
                lama(x, {{to.data, 1, to.tokens, to.dim}});
            },
            words);
    };
    EXPECT_TRUE(refused([](LamaInputs& x) { x.p_weight.cols = 7; }, {"lama", "p_weight", "7", "8"}));
    EXPECT_TRUE(refused([](LamaInputs& x) { x.q_weight.rows = 2; }, {"lama", "q_weight", "2", "3"}));
    EXPECT_TRUE(refused([](LamaInputs& x) { x.context = x.context.first(7); }, {"lama", "context", "7", "8"}));
    EXPECT_TRUE(refused([](LamaInputs& x) { x.x.rows = 0; }, {"lama", "x", "0"}));
    EXPECT_TRUE(refused([](LamaInputs& x) { x.x.data = nullptr; }, {"lama", "x", "null"}));
    EXPECT_TRUE(refused([](LamaInputs& x) { x.p_weight.rows = x.q_weight.rows = 2; }, {"lama", "o", "3", "2"}));
    EXPECT_TRUE(refuses([&] { lama(d.inputs(), {{d.p.view().data, 1, 3, 8, 9}}); }, {"lama", "o", "p_weight"}));
}

}  // namespace
}  // namespace attenta_test
