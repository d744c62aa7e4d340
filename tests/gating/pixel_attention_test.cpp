// Pixel attention equals its definition in both modes; NaN; its own errors.
#include <attenta/gating/pixel_attention.hpp>

#include "support/maps.hpp"

namespace attenta_test {
namespace {

using attenta::PixelAttentionInputs, attenta::PixelAttentionMode, attenta::PixelAttentionOptions,
    attenta::pixel_attention;

constexpr PixelAttentionOptions convolution{.mode = PixelAttentionMode::convolution};

/// x ⊙ σ(W x + b), or w_4 * (w_3 * x ⊙ σ(W x + b))
Map naive_pixels(const PixelAttentionInputs& in) {
    const Map x = map_of(in.x), y = in.w_3.data ? convolved(x, in.w_3) : x;
    const Map gated = make_map(in.x.heads, in.x.tokens, in.x.dim, [&](std::int64_t c, std::int64_t r, std::int64_t i) {
        double logit = double{in.b[static_cast<std::size_t>(c)]};
        for (std::int64_t k = 0; k < in.x.heads; ++k) logit += double{in.w.row(0, c)[k]} * at(x, k, r, i);
        return at(y, c, r, i) * sigmoid(logit);
    });
    return in.w_4.data ? convolved(gated, in.w_4) : gated;
}

struct Drawn {
    Tensor<float> x, w, w_3, w_4;
    std::vector<float> b;

    Drawn(const MapShape& s, std::int64_t side_3, std::int64_t side_4, Order order = Order::head_token,
          std::int64_t pad = 0, float gain = 1) {
        Random random(5);
        const float share = 1 / std::sqrt(static_cast<float>(s.C));
        x = random_tensor(random, s.C, s.H, s.W, order, pad);
        w = random_tensor(random, s.C, 1, s.C, Order::head_token, 3, gain * share);
        b = random.normals(s.C);
        w_3 =
            random_tensor(random, s.C, s.C, side_3 * side_3, Order::head_token, 1, share / static_cast<float>(side_3));
        w_4 =
            random_tensor(random, s.C, s.C, side_4 * side_4, Order::token_head, 0, share / static_cast<float>(side_4));
    }
    PixelAttentionInputs inputs(bool convolves) const {
        PixelAttentionInputs in{x.view(), matrix(w), b};
        if (convolves) in.w_3 = w_3.view(), in.w_4 = w_4.view();
        return in;
    }
};

TEST(PixelAttention, EqualsItsDefinition) {
    for (const MapShape& s : awkward_maps()) {
        SCOPED_TRACE(testing::Message() << s.C << " x " << s.H << " x " << s.W);
        for (const bool gaps : {false, true}) {
            const Drawn d(s, gaps ? 3 : 5, gaps ? 1 : 3, gaps ? Order::token_head : Order::head_token, gaps ? 5 : 0,
                          gaps ? 1.f : 20.f);
            for (const bool convolves : {false, true}) {
                const PixelAttentionInputs in = d.inputs(convolves);
                expect_map(naive_pixels(in), [&](attenta::Heads<float> o, Context& context) {
                    pixel_attention(in, o, convolves ? convolution : PixelAttentionOptions{}, context);
                });
            }
        }
    }
}

/// A NaN reaches its pixel alone, behind two convolutions what is two taps away.
TEST(PixelAttention, NanStaysNear) {
    Drawn d({6, 9, 21}, 3, 3);
    d.x.row(2, 4)[10] = std::nanf("");
    for (const bool convolves : {false, true}) {
        const Tensor<float> o(6, 9, 21);
        pixel_attention(d.inputs(convolves), o.view(), convolves ? convolution : PixelAttentionOptions{});
        const std::int64_t reach = convolves ? 2 : 0;
        for (std::int64_t c = 0; c < 6; ++c)
            for (std::int64_t r = 0; r < 9; ++r)
                for (std::int64_t i = 0; i < 21; ++i)
                    EXPECT_EQ(std::isnan(o.row(c, r)[i]), std::abs(r - 4) <= reach && std::abs(i - 10) <= reach)
                        << c << " " << r << " " << i;
    }
}

TEST(PixelAttentionErrors, SaysWhatDoesNotFit) {
    const Drawn d({4, 3, 5}, 3, 3);
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        PixelAttentionInputs x = d.inputs(true);
        PixelAttentionOptions options = convolution;
        change(x, options);
        return refuses_to_write(
            {nullptr, 4, 3, 5, 0, 0}, [&](attenta::Heads<float> o) { pixel_attention(x, o, options); }, words);
    };
    using X = PixelAttentionInputs;
    using O = PixelAttentionOptions;
    EXPECT_TRUE(refused([](X& x, O&) { x.w_3.dim = 8; }, {"pixel_attention", "w_3", "8", "odd"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_4 = {}; }, {"pixel_attention", "w_4", "convolution"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.mode = PixelAttentionMode::gate; }, {"pixel_attention", "w_3", "gate"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_4.heads = 3; }, {"pixel_attention", "w_4", "3", "4"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w.rows = 3; }, {"pixel_attention", "w", "3", "4"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.b = x.b.first(3); }, {"pixel_attention", "b", "3", "4"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.x.heads = 0; }, {"pixel_attention", "x", "0"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.x.tokens = 2; }, {"pixel_attention", "o", "3", "2"}));
    EXPECT_TRUE(
        refuses([&] { pixel_attention(d.inputs(true), d.x.view(), convolution); }, {"pixel_attention", "o", "x"}));
    d.x.row(1, 2)[3] = std::nanf("");
    EXPECT_TRUE(refused([](X&, O& o) { o.check_data = true; }, {"pixel_attention", "x", "nan"}));
}

}  // namespace
}  // namespace attenta_test
