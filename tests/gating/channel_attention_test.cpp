// Channel attention equals its definition, with residual value guidance too; channels of zeros; its own errors.
#include <attenta/gating/channel_attention.hpp>

#include "support/maps.hpp"

namespace attenta_test {
namespace {

using attenta::ChannelAttentionInputs, attenta::channel_attention;

/// All positions of a channel.
std::vector<double> flat(const Map& map, std::int64_t c) {
    std::vector<double> all;
    const Mat& m = map[static_cast<std::size_t>(c)];
    for (std::int64_t r = 0; r < m.rows(); ++r)
        for (std::int64_t i = 0; i < m.cols(); ++i) all.push_back(m(r, i));
    return all;
}

double product(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
}

/// softmax(temperature q̂ k̂ᵀ) (v + alpha_0 ρ) + alpha_1 (ρ − v)
Map naive_channels(const ChannelAttentionInputs& in) {
    const std::int64_t C = in.q.heads, H = in.q.tokens, W = in.q.dim, heads = std::ssize(in.temperature), n = C / heads;
    const Map q = map_of(in.q), k = map_of(in.k), v = map_of(in.v),
              residual = in.residual.data ? map_of(in.residual) : v;
    const double alpha_0 = in.residual.data ? double{in.alpha[0]} : 0,
                 alpha_1 = in.residual.data ? double{in.alpha[1]} : 0;
    Map o = make_map(C, H, W, [](auto...) { return 0.0; });
    for (std::int64_t c = 0; c < C; ++c) {
        Mat s(1, n);
        const std::int64_t h = c / n;
        const auto norm = [](const std::vector<double>& x) { return std::max(std::sqrt(product(x, x)), 1e-12); };
        for (std::int64_t j = 0; j < n; ++j) {
            const std::vector<double> a = flat(q, c), b = flat(k, h * n + j);
            s(0, j) = double{in.temperature[static_cast<std::size_t>(h)]} * product(a, b) / norm(a) / norm(b);
        }
        s = softmax_rows(s);
        for (std::int64_t r = 0; r < H; ++r)
            for (std::int64_t i = 0; i < W; ++i) {
                double sum = alpha_1 * (at(residual, c, r, i) - at(v, c, r, i));
                for (std::int64_t j = 0; j < n; ++j)
                    sum += s(0, j) * (at(v, h * n + j, r, i) + alpha_0 * at(residual, h * n + j, r, i));
                o[static_cast<std::size_t>(c)](r, i) = sum;
            }
    }
    return o;
}

struct Drawn {
    Tensor<float> q, k, v, residual;
    std::vector<float> temperature, alpha{0.6f, -0.4f};

    Drawn(const MapShape& s, std::int64_t heads, bool gaps, float gain = 1) {
        Random random(17);
        const auto map = [&](std::int64_t pad) {
            return random_tensor(random, s.C, s.H, s.W, gaps ? Order::token_head : Order::head_token, gaps ? pad : 0);
        };
        q = map(3), k = map(1), v = map(4), residual = map(2);
        // Channels that are like each other.
        k.each_row([&](float* row, std::int64_t c, std::int64_t t) {
            for (std::int64_t i = 0; i < s.W; ++i) row[i] += q.row((c + 1) % s.C, t)[i];
        });
        for (std::int64_t h = 0; h < heads; ++h)
            temperature.push_back(gain * (1 + static_cast<float>(random.uniform())));
    }
    ChannelAttentionInputs inputs(bool guided) const {
        ChannelAttentionInputs in{q.view(), k.view(), v.view(), temperature};
        if (guided) in.residual = residual.view(), in.alpha = alpha;
        return in;
    }
};

TEST(ChannelAttention, EqualsItsDefinition) {
    struct Case {
        MapShape shape;
        std::int64_t heads;
        float gain;
    };
    for (const Case& c :
         {Case{{1, 1, 1}, 1, 1}, Case{{6, 1, 7}, 3, 1}, Case{{24, 9, 11}, 4, 1}, Case{{10, 1, 37}, 1, 40},
          Case{{12, 40, 130}, 2, 5}, Case{{140, 5, 9}, 1, 30}, Case{{4, 70, 70}, 2, 3}})
        for (const bool gaps : {false, true})
            for (const bool guided : {false, true}) {
                SCOPED_TRACE(testing::Message()
                             << c.shape.C << " x " << c.shape.H << " x " << c.shape.W << " gaps " << gaps);
                const Drawn d(c.shape, c.heads, gaps, c.gain);
                const ChannelAttentionInputs in = d.inputs(guided);
                expect_map(naive_channels(in),
                           [&](attenta::Heads<float> o, Context& context) { channel_attention(in, o, {}, context); });
            }
}

TEST(ChannelAttention, AChannelOfZerosHasUniformWeights) {
    Drawn d({5, 3, 7}, 1, false);
    for (std::int64_t r = 0; r < 3; ++r) std::fill_n(d.q.row(2, r), 7, 0.f);
    const Tensor<float> o(5, 3, 7);
    channel_attention(d.inputs(false), o.view());
    for (std::int64_t r = 0; r < 3; ++r)
        for (std::int64_t i = 0; i < 7; ++i) {
            float sum = 0;
            for (std::int64_t c = 0; c < 5; ++c) sum += d.v.row(c, r)[i] / 5;
            EXPECT_NEAR(o.row(2, r)[i], sum, 1e-6);
        }
}

TEST(ChannelAttentionErrors, SaysWhatDoesNotFit) {
    const Drawn d({4, 3, 5}, 2, false);
    const std::vector<float> three{1.f, 2.f, 3.f};
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        ChannelAttentionInputs x = d.inputs(true);
        attenta::ChannelAttentionOptions options;
        change(x, options);
        return refuses_to_write(
            {nullptr, 4, 3, 5, 0, 0}, [&](attenta::Heads<float> o) { channel_attention(x, o, options); }, words);
    };
    using X = ChannelAttentionInputs;
    using O = attenta::ChannelAttentionOptions;
    EXPECT_TRUE(refused([&](X& x, O&) { x.temperature = three; }, {"channel_attention", "q", "4", "3"}));
    EXPECT_TRUE(refused([&](X& x, O&) { x.alpha = three; }, {"channel_attention", "alpha", "3", "2"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.alpha = {}; }, {"channel_attention", "alpha", "residual"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.residual = {}; }, {"channel_attention", "alpha", "residual"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.k.dim = 4; }, {"channel_attention", "k", "4", "5"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.v.heads = 3; }, {"channel_attention", "v", "3", "4"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.q.tokens = 0; }, {"channel_attention", "q", "0"}));
    EXPECT_TRUE(refuses([&] { channel_attention(d.inputs(true), d.v.view()); }, {"channel_attention", "o", "v"}));
    d.v.row(1, 2)[3] = std::nanf("");
    EXPECT_TRUE(refused([](X&, O& o) { o.check_data = true; }, {"channel_attention", "v", "nan"}));
}

}  // namespace
}  // namespace attenta_test
