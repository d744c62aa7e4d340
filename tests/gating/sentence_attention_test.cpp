// Sentence attention equals its definition; its own errors.
#include <attenta/gating/sentence_attention.hpp>

#include "support/maps.hpp"

namespace attenta_test {
namespace {

using attenta::SentenceActivation, attenta::SentenceAttentionInputs, attenta::SentenceAttentionOptions,
    attenta::sentence_attention;

/// softmax or σ of w_2 relu(LN(w_1 s + b_1)) + b_2
std::vector<double> naive_gate(const SentenceAttentionInputs& in, const SentenceAttentionOptions& options) {
    std::vector<double> y = layer(in.w_1, in.b_1, std::vector<double>(in.s.begin(), in.s.end()));
    const double count = static_cast<double>(y.size());
    double mean = 0, variance = 0;
    for (const double e : y) mean += e / count;
    for (const double e : y) variance += (e - mean) * (e - mean) / count;
    for (std::size_t i = 0; i < y.size(); ++i)
        y[i] =
            relu((y[i] - mean) / std::sqrt(variance + double{options.eps}) * double{in.norm[i]} + double{in.norm_b[i]});
    y = layer(in.w_2, in.b_2, y);
    if (options.activation == SentenceActivation::sigmoid) {
        std::transform(y.begin(), y.end(), y.begin(), sigmoid);
        return y;
    }
    const double top = *std::max_element(y.begin(), y.end());
    double sum = 0;
    for (double& e : y) sum += e = std::exp(e - top);
    for (double& e : y) e /= sum;
    return y;
}

struct Drawn {
    Tensor<float> x, w_1, w_2;
    std::vector<float> s, b_1, norm, norm_b, b_2;

    Drawn(const MapShape& shape, std::int64_t E, std::int64_t M, bool gaps = false) {
        Random random(11);
        x = random_tensor(random, shape.C, shape.H, shape.W, gaps ? Order::token_head : Order::head_token,
                          gaps ? 3 : 0);
        w_1 = random_tensor(random, M, 1, E, Order::head_token, 1, 1 / std::sqrt(static_cast<float>(E)));
        w_2 = random_tensor(random, shape.C, 1, M, Order::head_token, 2, 3 / std::sqrt(static_cast<float>(M)));
        s = random.normals(E), b_1 = random.normals(M), norm = random.normals(M), norm_b = random.normals(M);
        b_2 = random.normals(shape.C);
    }
    SentenceAttentionInputs inputs() const { return {x.view(), s, matrix(w_1), b_1, norm, norm_b, matrix(w_2), b_2}; }
};

TEST(SentenceAttention, EqualsItsDefinition) {
    for (const MapShape& s : awkward_maps())
        for (const auto activation : {SentenceActivation::softmax, SentenceActivation::sigmoid}) {
            SCOPED_TRACE(testing::Message() << s.C << " x " << s.H << " x " << s.W);
            const bool gaps = activation == SentenceActivation::sigmoid;
            const Drawn d(s, 1 + s.W / 2, 4 + 5 * s.H, gaps);
            const SentenceAttentionOptions options{.activation = activation, .eps = gaps ? 1e-5f : 0.2f};
            const std::vector<double> gate = naive_gate(d.inputs(), options);
            const Map x = map_of(d.x.view());
            const Map want = make_map(s.C, s.H, s.W, [&](std::int64_t c, std::int64_t r, std::int64_t i) {
                return gate[static_cast<std::size_t>(c)] * at(x, c, r, i);
            });
            expect_map(want, [&](attenta::Heads<float> o, Context& context) {
                std::vector<float> got(gate.size());
                sentence_attention(d.inputs(), {o, got.data()}, options, context);
                EXPECT_TRUE(is_close(got.data(), gate));
                sentence_attention(d.inputs(), {o}, options, context);
            });
        }
}

TEST(SentenceAttentionErrors, SaysWhatDoesNotFit) {
    const Drawn d({4, 3, 5}, 6, 7);
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        SentenceAttentionInputs x = d.inputs();
        SentenceAttentionOptions options;
        change(x, options);
        return refuses_to_write(
            {nullptr, 4, 3, 5, 0, 0}, [&](attenta::Heads<float> o) { sentence_attention(x, {o}, options); }, words);
    };
    using X = SentenceAttentionInputs;
    using O = SentenceAttentionOptions;
    EXPECT_TRUE(refused([](X& x, O&) { x.s = x.s.first(5); }, {"sentence_attention", "w_1", "6", "5"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.norm = x.norm.first(5); }, {"sentence_attention", "norm", "5", "7"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.norm_b = {}; }, {"sentence_attention", "norm_b", "null"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_2.rows = 3; }, {"sentence_attention", "w_2", "3", "4"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.x.tokens = 0; }, {"sentence_attention", "x", "0"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.eps = -1; }, {"sentence_attention", "eps"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.x.tokens = 2; }, {"sentence_attention", "o", "3", "2"}));
    EXPECT_TRUE(refuses([&] { sentence_attention(d.inputs(), {d.x.view()}); }, {"sentence_attention", "o", "x"}));
    d.x.row(1, 2)[3] = std::nanf("");
    EXPECT_TRUE(refused([](X&, O& o) { o.check_data = true; }, {"sentence_attention", "x", "nan"}));
}

}  // namespace
}  // namespace attenta_test
