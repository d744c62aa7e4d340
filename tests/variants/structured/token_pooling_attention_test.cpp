// Token pooling equals its definition; its own errors.
#include <attenta/variants/structured/token_pooling_attention.hpp>

#include "support/maps.hpp"

namespace attenta_test {
namespace {

using attenta::TokenPoolingAttentionInputs, attenta::TokenPoolingAttentionOptions, attenta::token_pooling_attention;

/// a = softmax(w_2 * norm(w_1 * x) / temperature)
Map naive_weights(const TokenPoolingAttentionInputs& in, const TokenPoolingAttentionOptions& options) {
    Map y = convolved(map_of(in.x), in.w_1);
    for (std::size_t n = 0; n < y.size(); ++n)
        y[n] = y[n].map([&](double z) {
            return (z - double{in.norm_mean[n]}) / std::sqrt(double{in.norm_var[n]} + double{options.eps}) *
                       double{in.norm[n]} +
                   double{in.norm_b[n]};
        });
    y = convolved(y, in.w_2);
    for (std::int64_t r = 0; r < in.x.tokens; ++r)
        for (std::int64_t i = 0; i < in.x.dim; ++i) {
            Mat s(1, std::ssize(y));
            for (std::int64_t n = 0; n < s.cols(); ++n) s(0, n) = at(y, n, r, i) / double{options.temperature};
            s = softmax_rows(s);
            for (std::int64_t n = 0; n < s.cols(); ++n) y[static_cast<std::size_t>(n)](r, i) = s(0, n);
        }
    return y;
}

/// Σ_n a_n mean of the nine samples at {−n, 0, n}²
Map naive_pooling(const TokenPoolingAttentionInputs& in, const Map& weights) {
    const Map x = map_of(in.x);
    return make_map(in.x.heads, in.x.tokens, in.x.dim, [&](std::int64_t c, std::int64_t r, std::int64_t i) {
        double sum = 0;
        for (std::int64_t n = 0; n < std::ssize(weights); ++n)
            for (std::int64_t a = -1; a <= 1; ++a)
                for (std::int64_t b = -1; b <= 1; ++b) sum += at(weights, n, r, i) * at(x, c, r + a * n, i + b * n) / 9;
        return sum;
    });
}

struct Drawn {
    Tensor<float> x, w_1, w_2;
    std::vector<float> norm, norm_b, norm_mean, norm_var;

    Drawn(const MapShape& s, std::int64_t N, std::int64_t side, bool gaps = false, float gain = 1) {
        Random random(23);
        x = random_tensor(random, s.C, s.H, s.W, gaps ? Order::token_head : Order::head_token, gaps ? 3 : 0);
        w_1 = random_tensor(random, N, s.C, side * side, Order::head_token, gaps ? 1 : 0,
                            1 / std::sqrt(static_cast<float>(9 * s.C)));
        w_2 = random_tensor(random, N, N, 9, Order::token_head, 0, gain / std::sqrt(static_cast<float>(9 * N)));
        norm = random.normals(N), norm_b = random.normals(N), norm_mean = random.normals(N);
        for (std::int64_t n = 0; n < N; ++n) norm_var.push_back(0.5f + static_cast<float>(random.uniform()));
    }
    TokenPoolingAttentionInputs inputs() const {
        return {x.view(), w_1.view(), norm, norm_b, norm_mean, norm_var, w_2.view()};
    }
};

TEST(TokenPoolingAttention, EqualsItsDefinition) {
    for (const MapShape& s : awkward_maps())
        for (const std::int64_t N : {1, 4, 9}) {
            SCOPED_TRACE(testing::Message() << s.C << " x " << s.H << " x " << s.W << ", " << N << " scales");
            const Drawn d(s, N, N == 4 ? 5 : 3, N != 4, N == 9 ? 8.f : 1.f);
            const TokenPoolingAttentionOptions options{.temperature = N == 4 ? 0.5f : 1.f};
            const Map weights = naive_weights(d.inputs(), options);
            expect_map(naive_pooling(d.inputs(), weights), [&](attenta::Heads<float> o, Context& context) {
                std::vector<float> got(static_cast<std::size_t>(N * s.H * s.W));
                token_pooling_attention(d.inputs(), {o, got.data()}, options, context);
                for (std::int64_t n = 0; n < N; ++n)
                    EXPECT_TRUE(is_close(got.data() + n * s.H * s.W, s.W, weights[static_cast<std::size_t>(n)]));
                token_pooling_attention(d.inputs(), {o}, options, context);
            });
        }
}

TEST(TokenPoolingAttentionErrors, SaysWhatDoesNotFit) {
    const Drawn d({4, 3, 5}, 3, 3);
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        TokenPoolingAttentionInputs x = d.inputs();
        TokenPoolingAttentionOptions options;
        change(x, options);
        return refuses_to_write(
            {nullptr, 4, 3, 5, 0, 0}, [&](attenta::Heads<float> o) { token_pooling_attention(x, {o}, options); },
            words);
    };
    using X = TokenPoolingAttentionInputs;
    using O = TokenPoolingAttentionOptions;
    const char* f = "token_pooling_attention";
    const std::vector<float> negative{1, 1, -1};
    EXPECT_TRUE(refused([](X& x, O&) { x.w_1.dim = 4; }, {f, "w_1", "4", "odd"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_1.tokens = 3; }, {f, "w_1", "3", "4"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_2.heads = 2; }, {f, "w_2", "2", "3"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.norm_mean = {}; }, {f, "norm_mean", "null"}));
    EXPECT_TRUE(refused([&](X& x, O&) { x.norm_var = negative; }, {f, "norm_var", "2", "0"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.temperature = 0; }, {f, "temperature", "0"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.temperature = std::nanf(""); }, {f, "temperature", "nan"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.eps = -1; }, {f, "eps"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.x.tokens = 0; }, {f, "x", "0"}));
    EXPECT_TRUE(refuses([&] { token_pooling_attention(d.inputs(), {d.x.view()}); }, {f, "o", "x"}));
    d.x.row(1, 2)[3] = std::nanf("");
    EXPECT_TRUE(refused([](X&, O& o) { o.check_data = true; }, {f, "x", "nan"}));
}

}  // namespace
}  // namespace attenta_test
