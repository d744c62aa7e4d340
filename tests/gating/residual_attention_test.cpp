// Residual attention equals its definition; large and small logits; its own errors.
#include <attenta/gating/residual_attention.hpp>

#include "support/maps.hpp"

namespace attenta_test {
namespace {

using attenta::ResidualActivation, attenta::ResidualAttentionInputs, attenta::ResidualAttentionOptions,
    attenta::residual_attention;

/// (1 + M) x or M x
Map naive_residual(const ResidualAttentionInputs& in, const ResidualAttentionOptions& options) {
    const Map x = map_of(in.x), m = map_of(in.mask);
    const double eps = double{options.eps};
    const auto gate = [&](std::int64_t c, std::int64_t r, std::int64_t i) {
        if (options.activation == ResidualActivation::mixed) return sigmoid(at(m, c, r, i));
        if (options.activation == ResidualActivation::channel) {
            double squares = 0;
            for (std::int64_t k = 0; k < in.x.heads; ++k) squares += at(m, k, r, i) * at(m, k, r, i);
            return at(m, c, r, i) / (std::sqrt(squares) + eps);
        }
        const double count = static_cast<double>(in.x.tokens * in.x.dim);
        double mean = 0, squares = 0;
        for (std::int64_t a = 0; a < in.x.tokens; ++a)
            for (std::int64_t b = 0; b < in.x.dim; ++b) mean += at(m, c, a, b) / count;
        for (std::int64_t a = 0; a < in.x.tokens; ++a)
            for (std::int64_t b = 0; b < in.x.dim; ++b) squares += std::pow(at(m, c, a, b) - mean, 2) / count;
        return sigmoid((at(m, c, r, i) - mean) / (std::sqrt(squares) + eps));
    };
    return make_map(in.x.heads, in.x.tokens, in.x.dim, [&](std::int64_t c, std::int64_t r, std::int64_t i) {
        return (gate(c, r, i) + (options.residual ? 1 : 0)) * at(x, c, r, i);
    });
}

struct Drawn {
    Tensor<float> x, mask;

    explicit Drawn(const MapShape& s, bool gaps = false, float gain = 2) {
        Random random(7);
        x = random_tensor(random, s.C, s.H, s.W, gaps ? Order::token_head : Order::head_token, gaps ? 3 : 0);
        mask = random_tensor(random, s.C, s.H, s.W, Order::head_token, gaps ? 2 : 0, gain);
    }
    ResidualAttentionInputs inputs() const { return {x.view(), mask.view()}; }
};

constexpr ResidualActivation all_activations[] = {ResidualActivation::mixed, ResidualActivation::channel,
                                                  ResidualActivation::spatial};

TEST(ResidualAttention, EqualsItsDefinition) {
    for (const MapShape& s : awkward_maps()) {
        SCOPED_TRACE(testing::Message() << s.C << " x " << s.H << " x " << s.W);
        for (const bool gaps : {false, true})
            for (const ResidualActivation activation : all_activations) {
                const Drawn d(s, gaps);
                // A channel of one position has no deviation.
                const ResidualAttentionOptions options{
                    .activation = activation, .residual = gaps, .eps = gaps || s.H * s.W == 1 ? 0.1f : 0.f};
                expect_map(naive_residual(d.inputs(), options), [&](attenta::Heads<float> o, Context& context) {
                    residual_attention(d.inputs(), o, options, context);
                });
            }
    }
}

/// Squares of logits would overflow, or vanish.
TEST(ResidualAttention, NormsOfAnySize) {
    for (const float gain : {1e25f, 1e-25f}) {
        const Drawn d({9, 4, 11}, false, gain);
        const ResidualAttentionOptions options{.activation = ResidualActivation::channel};
        expect_map(naive_residual(d.inputs(), options), [&](attenta::Heads<float> o, Context& context) {
            residual_attention(d.inputs(), o, options, context);
        });
    }
}

TEST(ResidualAttention, NanStaysInItsPixelOrChannel) {
    for (const ResidualActivation activation : all_activations) {
        Drawn d({5, 3, 19});
        d.mask.row(2, 1)[7] = std::nanf("");
        const Tensor<float> o(5, 3, 19);
        residual_attention(d.inputs(), o.view(), {.activation = activation});
        for (std::int64_t c = 0; c < 5; ++c)
            for (std::int64_t r = 0; r < 3; ++r)
                for (std::int64_t i = 0; i < 19; ++i) {
                    const bool pixel = r == 1 && i == 7, channel = c == 2;
                    EXPECT_EQ(std::isnan(o.row(c, r)[i]), activation == ResidualActivation::mixed     ? pixel && channel
                                                          : activation == ResidualActivation::channel ? pixel
                                                                                                      : channel);
                }
    }
}

TEST(ResidualAttentionErrors, SaysWhatDoesNotFit) {
    const Drawn d({4, 3, 5});
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        ResidualAttentionInputs x = d.inputs();
        ResidualAttentionOptions options;
        change(x, options);
        return refuses_to_write(
            {nullptr, 4, 3, 5, 0, 0}, [&](attenta::Heads<float> o) { residual_attention(x, o, options); }, words);
    };
    using X = ResidualAttentionInputs;
    using O = ResidualAttentionOptions;
    EXPECT_TRUE(refused([](X& x, O&) { x.mask.dim = 4; }, {"residual_attention", "mask", "4", "5"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.mask.data = nullptr; }, {"residual_attention", "mask", "null"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.x.dim = x.mask.dim = 0; }, {"residual_attention", "x", "0"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.x.heads = x.mask.heads = 3; }, {"residual_attention", "o", "4", "3"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.eps = -0.5f; }, {"residual_attention", "eps"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.eps = std::nanf(""); }, {"residual_attention", "eps", "nan"}));
    EXPECT_TRUE(refuses([&] { residual_attention(d.inputs(), d.mask.view()); }, {"residual_attention", "o", "mask"}));
    d.mask.row(1, 2)[3] = std::nanf("");
    EXPECT_TRUE(refused([](X&, O& o) { o.check_data = true; }, {"residual_attention", "mask", "nan"}));
}

}  // namespace
}  // namespace attenta_test
