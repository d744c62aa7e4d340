// CBAM equals its definition, with every pool; NaN; its own errors.
#include <attenta/gating/cbam.hpp>

#include "support/maps.hpp"

namespace attenta_test {
namespace {

using attenta::CbamInputs, attenta::CbamOptions, attenta::CbamOutputs, attenta::cbam;

struct Naive {
    std::vector<double> channels, positions;
    Map o;
};

/// g = σ(Σ w_2 relu(w_1 pool(x) + b_1) + b_2), y = g x, m = σ(norm(w_s * [max y; mean y])), o = m y
Naive naive_cbam(const CbamInputs& in, const CbamOptions& options) {
    const Map x = map_of(in.x);
    const std::int64_t C = in.x.heads, H = in.x.tokens, W = in.x.dim;
    std::vector<double> mean, max, lse;
    for (const Mat& m : x) {
        double sum = 0, top = m(0, 0), sums = 0;
        for (std::int64_t r = 0; r < H; ++r)
            for (std::int64_t c = 0; c < W; ++c) sum += m(r, c), top = std::max(top, m(r, c));
        for (std::int64_t r = 0; r < H; ++r)
            for (std::int64_t c = 0; c < W; ++c) sums += std::exp(m(r, c) - top);
        mean.push_back(sum / static_cast<double>(H * W)), max.push_back(top), lse.push_back(top + std::log(sums));
    }
    Naive naive{std::vector<double>(static_cast<std::size_t>(C)), {}, {}};
    for (const auto& [wanted, pool] :
         {std::pair{options.mean, &mean}, {options.max, &max}, {options.log_sum_exp, &lse}}) {
        if (!wanted) continue;
        std::vector<double> hidden = layer(in.w_1, in.b_1, *pool);
        std::transform(hidden.begin(), hidden.end(), hidden.begin(), relu);
        const std::vector<double> raw = layer(in.w_2, in.b_2, hidden);
        for (std::size_t c = 0; c < raw.size(); ++c) naive.channels[c] += raw[c];
    }
    std::transform(naive.channels.begin(), naive.channels.end(), naive.channels.begin(), sigmoid);
    const auto y = [&](std::int64_t c, std::int64_t r, std::int64_t i) {
        return naive.channels[static_cast<std::size_t>(c)] * at(x, c, r, i);
    };
    if (!options.spatial) {
        naive.o = make_map(C, H, W, y);
        return naive;
    }
    Map gate = convolved(make_map(2, H, W,
                                  [&](std::int64_t pool, std::int64_t r, std::int64_t i) {
                                      double top = y(0, r, i), sum = 0;
                                      for (std::int64_t c = 0; c < C; ++c)
                                          sum += y(c, r, i), top = std::max(top, y(c, r, i));
                                      return pool == 0 ? top : sum / static_cast<double>(C);
                                  }),
                         in.w_s);
    for (std::int64_t r = 0; r < H; ++r)
        for (std::int64_t i = 0; i < W; ++i) {
            double& m = gate[0](r, i);
            if (in.norm.data())
                m = (m - double{in.norm_mean[0]}) / std::sqrt(double{in.norm_var[0]} + double{options.eps}) *
                        double{in.norm[0]} +
                    double{in.norm_b[0]};
            m = sigmoid(m);
            naive.positions.push_back(m);
        }
    naive.o =
        make_map(C, H, W, [&](std::int64_t c, std::int64_t r, std::int64_t i) { return gate[0](r, i) * y(c, r, i); });
    return naive;
}

struct Drawn {
    Tensor<float> x, w_1, w_2, w_s;
    std::vector<float> b_1, b_2, norm{1.3f}, norm_b{-0.2f}, norm_mean{0.1f}, norm_var{0.7f};
    bool norms;

    Drawn(const MapShape& s, std::int64_t hidden, std::int64_t side, bool with_norm, Order order = Order::head_token,
          std::int64_t pad = 0)
        : norms(with_norm) {
        Random random(3);
        x = random_tensor(random, s.C, s.H, s.W, order, pad);
        w_1 = random_tensor(random, hidden, 1, s.C, Order::head_token, 2, 1 / std::sqrt(static_cast<float>(s.C)));
        w_2 = random_tensor(random, s.C, 1, hidden, Order::head_token, 1, 1 / std::sqrt(static_cast<float>(hidden)));
        b_1 = random.normals(hidden), b_2 = random.normals(s.C);
        w_s = random_tensor(random, 1, 2, side * side, Order::head_token, 0, 1 / static_cast<float>(side));
    }
    CbamInputs inputs(bool spatial = true) const {
        CbamInputs in{x.view(), matrix(w_1), b_1, matrix(w_2), b_2};
        if (spatial) in.w_s = w_s.view();
        if (spatial && norms) in.norm = norm, in.norm_b = norm_b, in.norm_mean = norm_mean, in.norm_var = norm_var;
        return in;
    }
};

void expect_definition(const Drawn& d, const CbamOptions& options) {
    const CbamInputs in = d.inputs(options.spatial);
    const Naive want = naive_cbam(in, options);
    expect_map(want.o, [&](attenta::Heads<float> o, Context& context) {
        std::vector<float> channels(want.channels.size()), positions(want.positions.size() + 1);
        cbam(in, {o, channels.data(), positions.data()}, options, context);
        EXPECT_TRUE(is_close(channels.data(), want.channels));
        EXPECT_TRUE(is_close(positions.data(), want.positions));
        cbam(in, {o}, options, context);
    });
}

TEST(Cbam, EqualsItsDefinition) {
    for (const MapShape& s : awkward_maps()) {
        SCOPED_TRACE(testing::Message() << s.C << " x " << s.H << " x " << s.W);
        for (const bool gaps : {false, true}) {
            const Drawn d(s, 1 + s.C / 3, gaps ? 7 : 3, gaps, gaps ? Order::token_head : Order::head_token,
                          gaps ? 3 : 0);
            expect_definition(d, {});
            expect_definition(d, {.max = false, .log_sum_exp = true, .spatial = false});
            expect_definition(d, {.mean = false, .log_sum_exp = true, .eps = 0.3f});
        }
    }
    expect_definition({{5, 300, 301}, 2, 1, false}, {.log_sum_exp = true});
}

/// The largest number of a channel with a NaN is NaN, wherever it stands.
TEST(Cbam, NanReachesAllGates) {
    for (const std::int64_t place : {0, 3, 17, 58}) {
        Drawn d({2, 1, 59}, 3, 3, false);
        d.x.row(1, 0)[place] = std::nanf("");
        for (const bool max : {false, true}) {
            float gate[2];
            const Tensor<float> o(2, 1, 59);
            cbam(d.inputs(false), {o.view(), gate}, {.mean = !max, .max = max, .spatial = false});
            EXPECT_TRUE(std::isnan(gate[0]) && std::isnan(gate[1])) << place;
        }
    }
}

TEST(CbamErrors, SaysWhatDoesNotFit) {
    const Drawn d({4, 3, 5}, 2, 3, true);
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        CbamInputs x = d.inputs();
        CbamOptions options;
        change(x, options);
        return refuses_to_write(
            {nullptr, 4, 3, 5, 0, 0}, [&](attenta::Heads<float> o) { cbam(x, {o}, options); }, words);
    };
    using X = CbamInputs;
    using O = CbamOptions;
    const std::vector<float> negative{-1.f};
    EXPECT_TRUE(refused([](X&, O& o) { o.mean = o.max = false; }, {"cbam", "pool"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_s.dim = 4; }, {"cbam", "w_s", "4", "odd"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_s.tokens = 1; }, {"cbam", "w_s", "1", "2"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_s.data = nullptr; }, {"cbam", "w_s", "spatial"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.spatial = false; }, {"cbam", "w_s", "spatial"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.norm_b = {}; }, {"cbam", "norm_b"}));
    EXPECT_TRUE(refused([&](X& x, O&) { x.norm_var = negative; }, {"cbam", "norm_var", "0"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.eps = -1; }, {"cbam", "eps"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_1.cols = 3; }, {"cbam", "w_1", "3", "4"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_2.cols = 1; }, {"cbam", "w_2", "1", "2"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.x.tokens = 0; }, {"cbam", "x", "0"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.x.data = nullptr; }, {"cbam", "x", "null"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.x.dim = 4; }, {"cbam", "o", "5", "4"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.x.head_stride = std::int64_t{1} << 60; }, {"cbam", "x", "memory"}));
    EXPECT_TRUE(refuses([&] { cbam(d.inputs(), {d.x.view()}); }, {"cbam", "o", "x"}));
    d.x.row(1, 2)[3] = std::nanf("");
    EXPECT_TRUE(refused([](X&, O& o) { o.check_data = true; }, {"cbam", "x", "nan"}));
}

}  // namespace
}  // namespace attenta_test
