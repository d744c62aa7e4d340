// Linformer equals its definition; poolings along the sequence; its own errors.
#include <attenta/lowrank/linformer.hpp>
#include <attenta/softmax/softmax.hpp>

#include "lowrank/support/lowrank.hpp"

namespace attenta_test {
namespace {

using attenta::LinformerInputs, attenta::linformer;

struct Case {
    std::int64_t Hq, Hkv, Tq, Tk, D, Dv, R, heads_k, heads_v, more_columns;
};

struct Drawn {
    Tensor<float> q, k, v, proj_k, proj_v;
    explicit Drawn(const Case& c) {
        Random random(7);
        q = random_tensor(random, c.Hq, c.Tq, c.D, Order::token_head, 2, 2);
        k = random_tensor(random, c.Hkv, c.Tk, c.D, Order::token_head, 1);
        v = random_tensor(random, c.Hkv, c.Tk, c.Dv, Order::head_token, 5);
        const float gain = 1 / std::sqrt(static_cast<float>(c.Tk));
        proj_k = random_tensor(random, c.heads_k, c.R, c.Tk + c.more_columns, Order::head_token, 3, gain);
        if (c.heads_v > 0)
            proj_v = random_tensor(random, c.heads_v, c.R, c.Tk + c.more_columns / 2, Order::head_token, 0, gain);
    }
    LinformerInputs inputs() const { return {q.view(), k.view(), v.view(), proj_k.view(), proj_v.view()}; }
};

/// K~ = E k, V~ = F v, o = softmax(scale q K~ᵀ) V~
std::vector<Mat> naive_linformer(const LinformerInputs& x, double scale, std::vector<Mat>* lse = nullptr) {
    std::vector<Mat> o;
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        const std::int64_t g = h / (x.q.heads / x.k.heads);
        const auto projection = [&](const View& p) { return Mat(p, p.heads > 1 ? g : 0).columns(x.k.tokens); };
        const Mat k = projection(x.proj_k) * Mat(x.k, g),
                  v = projection(x.proj_v.data ? x.proj_v : x.proj_k) * Mat(x.v, g);
        Mat sums(x.q.tokens, 1);
        o.push_back(softmax_rows(scale * Mat(x.q, h) * k.transposed(), false, &sums) * v);
        if (lse) lse->push_back(sums);
    }
    return o;
}

TEST(Linformer, EqualsItsDefinition) {
    for (const Case& c : {Case{1, 1, 1, 1, 1, 1, 1, 1, 0, 0}, Case{2, 2, 3, 5, 7, 1, 2, 2, 2, 0},
                          Case{4, 2, 17, 40, 10, 7, 9, 2, 1, 4}, Case{6, 2, 1, 130, 64, 33, 40, 1, 2, 3},
                          Case{8, 1, 65, 63, 24, 16, 70, 1, 0, 9}, Case{2, 2, 90, 700, 32, 32, 33, 2, 0, 0}}) {
        SCOPED_TRACE(testing::Message() << "Tq " << c.Tq << " Tk " << c.Tk << " R " << c.R);
        const Drawn d(c);
        std::vector<Mat> want_lse;
        const auto want = naive_linformer(d.inputs(), default_scale(c.D), &want_lse);
        expect_heads(want, [&](attenta::Heads<float> o, Context& context) {
            std::vector<float> lse(static_cast<std::size_t>(c.Hq * c.Tq));
            linformer(d.inputs(), o, {}, lse.data(), context);
            for (std::int64_t h = 0; h < c.Hq; ++h)
                EXPECT_TRUE(is_close(lse.data() + h * c.Tq, 1, want_lse[static_cast<std::size_t>(h)]));
        });
        expect_heads(naive_linformer(d.inputs(), -0.3), [&](attenta::Heads<float> o, Context& context) {
            linformer(d.inputs(), o, {.scale = -0.3f}, nullptr, context);
        });
    }
}

/// E = I leaves softmax attention.
TEST(Linformer, IsSoftmaxWhereNothingIsPooled) {
    Drawn d({2, 1, 9, 12, 8, 6, 12, 1, 0, 0});
    for (std::int64_t r = 0; r < 12; ++r)
        for (std::int64_t c = 0; c < 12; ++c) d.proj_k.row(0, r)[c] = r == c ? 1.f : 0.f;
    Output got(2, 9, 6), want(2, 9, 6);
    linformer(d.inputs(), got.o.view(), {}, got.lse.data());
    attenta::softmax_attention(View(d.q.view()), View(d.k.view()), View(d.v.view()), want.o.view(), {},
                               want.lse.data());
    EXPECT_LE(distance(got, want), 1e-6);
}

TEST(LinformerErrors, SaysWhatDoesNotFit) {
    const Drawn d({4, 2, 5, 12, 8, 6, 3, 2, 2, 0});
    const View sizes{nullptr, 4, 5, 6, 0, 0};
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        LinformerInputs x = d.inputs();
        attenta::LinformerOptions options;
        change(x, options);
        return refuses_to_write(
            sizes, [&](attenta::Heads<float> to) { linformer(x, to, options); }, words);
    };
    using X = LinformerInputs;
    using O = attenta::LinformerOptions;
    EXPECT_TRUE(refused([](X& x, O&) { x.proj_k.dim = 11; }, {"linformer", "proj_k", "11", "12"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.proj_v.tokens = 2; }, {"linformer", "proj_v", "2", "3"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.proj_k.tokens = 0; }, {"linformer", "proj_k", "0"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.k.heads = x.v.heads = 4; }, {"linformer", "proj_k", "2", "1", "4"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.q.heads = 3; }, {"linformer", "q", "3", "2"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.q.dim = 7; }, {"linformer", "7", "8"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.q.tokens = 0; }, {"linformer", "q", "0"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.v.data = nullptr; }, {"linformer", "v", "null"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.scale = std::nanf(""); }, {"linformer", "scale", "nan"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.q.tokens = 4; }, {"linformer", "o", "5", "4"}));
    EXPECT_TRUE(refuses([&] { linformer(d.inputs(), {d.v.view().data, 4, 5, 6, 30, 6}); }, {"linformer", "o", "v"}));
    d.k.row(1, 3)[2] = std::nanf("");
    EXPECT_TRUE(refused([](X&, O& o) { o.check_data = true; }, {"linformer", "k", "nan"}));
}

}  // namespace
}  // namespace attenta_test
