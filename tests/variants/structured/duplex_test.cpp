// Duplex attention equals its definition, both Gram matrices, masks and pseudo scores; its own errors.
#include <attenta/variants/structured/duplex.hpp>

#include "support/maps.hpp"

namespace attenta_test {
namespace {

using attenta::DuplexGram, attenta::DuplexInputs, attenta::DuplexOptions, attenta::duplex;

Mat unit_rows(Mat x, double shift) {
    for (std::int64_t r = 0; r < x.rows(); ++r) {
        double squares = 0;
        for (std::int64_t c = 0; c < x.cols(); ++c) squares += std::pow(x(r, c) + shift, 2);
        for (std::int64_t c = 0; c < x.cols(); ++c) x(r, c) = (x(r, c) + shift) / std::sqrt(squares);
    }
    return x;
}

/// K'_a = (K_a + ratio_a ⊙ (K̂_a G_b)) W_aᵀ, G_b = K̂_bᵀ V_b or K̂_bᵀ K̂_b with unit rows.
Mat aligned(const DuplexInputs& in, const DuplexOptions& options, std::int64_t g) {
    const Mat k(in.k, g), unit = unit_rows(k, 1e-6), v = options.gram == DuplexGram::value ? Mat(in.v, g) : unit;
    Mat out = k;
    for (const auto& [target, source] : options.align) {
        Mat gram(k.cols(), v.cols());
        bool any = false;
        for (std::int64_t t = 0; t < k.rows(); ++t) {
            if (in.modality[static_cast<std::size_t>(t)] != source) continue;
            any = true;
            for (std::int64_t a = 0; a < gram.rows(); ++a)
                for (std::int64_t b = 0; b < gram.cols(); ++b) gram(a, b) += unit(t, a) * v(t, b);
        }
        if (!any) continue;
        const Mat change = unit * unit_rows(gram, 0);
        for (std::int64_t t = 0; t < k.rows(); ++t) {
            if (in.modality[static_cast<std::size_t>(t)] != target) continue;
            for (std::int64_t r = 0; r < k.cols(); ++r) {
                double sum = 0;
                for (std::int64_t c = 0; c < k.cols(); ++c)
                    sum += (k(t, c) + double{in.ratio.row(0, target)[c]} * change(t, c)) *
                           double{in.w_fuse.row(target, r)[c]};
                out(t, r) = sum;
            }
        }
    }
    return out;
}

struct Naive {
    std::vector<Mat> o, lse, k;
};

Naive naive_duplex(const DuplexInputs& in, const DuplexOptions& options) {
    const std::int64_t Tq = in.q.tokens, Tk = in.k.tokens;
    Naive naive;
    for (std::int64_t h = 0; h < in.q.heads; ++h) {
        const std::int64_t g = h / (in.q.heads / in.k.heads);
        const Mat k = aligned(in, options, g), v(in.v, g),
                  s = double{options.scale.value_or(default_scale(in.q.dim))} * Mat(in.q, h) * k.transposed();
        Mat o(Tq, v.cols()), lse(Tq, 1);
        for (std::int64_t i = 0; i < Tq; ++i) {
            const std::int64_t position = Tk - Tq + i;
            double sum = 0;
            for (std::int64_t j = 0; j < Tk; ++j) {
                const bool seen =
                    !in.modality_mask.data ||
                    in.modality_mask.row(
                        0, in.modality[static_cast<std::size_t>(position)])[in.modality[static_cast<std::size_t>(j)]] !=
                        0;
                if ((options.causal && j > position) || !seen) continue;
                sum += std::exp(s(i, j));
                for (std::int64_t c = 0; c < v.cols(); ++c) o(i, c) += std::exp(s(i, j)) * v(j, c);
            }
            for (std::int64_t m = 0; options.decay && m < options.length.value_or(Tk) - 1 - position; ++m)
                sum += std::exp(-double{*options.decay} * static_cast<double>(m));
            for (std::int64_t c = 0; c < v.cols(); ++c) o(i, c) /= sum;
            lse(i, 0) = std::log(sum);
        }
        naive.o.push_back(o), naive.lse.push_back(lse), naive.k.push_back(k);
    }
    return naive;
}

struct Case {
    std::int64_t Hq, Hkv, Tq, Tk, D, Dv, M;
};

struct Drawn {
    Tensor<float> q, k, v, ratio, w_fuse;
    std::vector<std::int64_t> modality, mask;

    explicit Drawn(const Case& c, bool runs = false) {
        Random random(37);
        q = random_tensor(random, c.Hq, c.Tq, c.D, Order::token_head, 2);
        k = random_tensor(random, c.Hkv, c.Tk, c.D, Order::token_head, 1);
        v = random_tensor(random, c.Hkv, c.Tk, c.Dv, Order::head_token, 3);
        ratio = random_tensor(random, c.M, 1, c.D, Order::head_token, 2);
        w_fuse = random_tensor(random, c.M, c.D, c.D, Order::token_head, 1, 0.5f / std::sqrt(static_cast<float>(c.D)));
        for (std::int64_t t = 0; t < c.Tk; ++t)
            modality.push_back(runs && t % 7 != 0 ? modality.back() : random.integer(0, c.M - 1));
        for (std::int64_t a = 0; a < c.M; ++a)
            for (std::int64_t b = 0; b < c.M; ++b) mask.push_back(a == b || random.chance(0.5) ? 1 + b : 0);
    }
    DuplexInputs inputs(bool masked) const {
        DuplexInputs in{q.view(), k.view(), v.view(), modality, matrix(ratio), w_fuse.view()};
        const std::int64_t M = ratio.view().heads;
        if (masked) in.modality_mask = {mask.data(), 1, M, M};
        return in;
    }
};

void expect_definition(const Case& c, const Drawn& d, bool masked, const DuplexOptions& options) {
    SCOPED_TRACE(testing::Message() << "Tq " << c.Tq << " Tk " << c.Tk << " D " << c.D << " M " << c.M);
    const DuplexInputs in = d.inputs(masked);
    const Naive want = naive_duplex(in, options);
    expect_heads(want.o, [&](attenta::Heads<float> o, Context& context) {
        const Tensor<float> k(c.Hq, c.Tk, c.D, Order::token_head, 1);
        std::vector<float> lse(static_cast<std::size_t>(c.Hq * c.Tq));
        duplex(in, {o, lse.data(), k.view()}, options, context);
        for (std::int64_t h = 0; h < c.Hq; ++h) {
            const auto i = static_cast<std::size_t>(h);
            EXPECT_TRUE(is_close(lse.data() + h * c.Tq, 1, want.lse[i]));
            EXPECT_TRUE(is_close(k.row(h, 0), k.view().token_stride, want.k[i]));
        }
        duplex(in, {o}, options, context);
    });
}

TEST(Duplex, EqualsItsDefinition) {
    for (const Case& c : {Case{1, 1, 1, 1, 1, 1, 2}, Case{4, 2, 33, 33, 16, 16, 2}, Case{6, 2, 1, 130, 33, 33, 3},
                          Case{2, 1, 70, 200, 24, 24, 4}, Case{3, 3, 9, 40, 40, 40, 2}})
        for (const bool runs : {false, true}) {
            const Drawn d(c, runs);
            for (const bool masked : {false, true}) {
                expect_definition(c, d, masked, {});
                expect_definition(c, d, masked, {.align = {{1, 0}, {0, 1}}, .gram = DuplexGram::key, .decay = 0.4f});
                expect_definition(c, d, masked, {.align = {{0, 0}, {0, 1}}, .causal = false, .scale = 0.3f});
                expect_definition(c, d, masked, {.align = {}, .decay = 0.f, .length = c.Tk + 9});
            }
        }
    const Case wide{4, 2, 12, 30, 16, 20, 2};
    expect_definition(wide, Drawn(wide), true, {.gram = DuplexGram::key});
}

/// Pseudo scores beyond what any float holds.
TEST(Duplex, PseudoScoresOfALongPrompt) {
    const Case c{1, 1, 3, 5, 8, 8, 2};
    const Drawn d(c);
    const Tensor<float> o(1, 3, 8);
    std::vector<float> lse(3);
    duplex(d.inputs(false), {o.view(), lse.data()}, {.decay = 0.f, .length = std::int64_t{1} << 60});
    for (std::int64_t i = 0; i < 3; ++i) {
        EXPECT_NEAR(lse[static_cast<std::size_t>(i)], 60 * std::log(2.0), 1e-4);
        EXPECT_LT(std::abs(o.row(0, i)[0]), 1e-12f);
    }
}

/// Keys whose values are all 0 leave no direction: nothing is added.
TEST(Duplex, AGramMatrixOfZeros) {
    const Case c{1, 1, 6, 6, 8, 8, 2};
    const Drawn d(c);
    d.v.each_row([](float* row, std::int64_t, std::int64_t) { std::fill_n(row, 8, 0.f); });
    const Tensor<float> o(1, 6, 8);
    duplex(d.inputs(false), {o.view()});
    for (std::int64_t i = 0; i < 6; ++i) EXPECT_EQ(o.row(0, i)[0], 0);
}

TEST(DuplexErrors, SaysWhatDoesNotFit) {
    const Drawn d({4, 2, 5, 12, 8, 8, 3});
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        DuplexInputs x = d.inputs(true);
        DuplexOptions options;
        change(x, options);
        return refuses_to_write(
            {nullptr, 4, 5, 8, 0, 0}, [&](attenta::Heads<float> o) { duplex(x, {o}, options); }, words);
    };
    using X = DuplexInputs;
    using O = DuplexOptions;
    std::vector<std::int64_t> other = d.modality, blind(9, 0);
    other[3] = 3;
    EXPECT_TRUE(refused([&](X& x, O&) { x.modality = other; }, {"duplex", "modality", "3"}));
    EXPECT_TRUE(
        refused([&](X& x, O&) { x.modality_mask.data = blind.data(); }, {"duplex", "modality_mask", "query", "0"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.align = {{1, 3}}; }, {"duplex", "align", "3"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.align = {{-1, 0}}; }, {"duplex", "align", "1"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.modality = x.modality.first(11); }, {"duplex", "modality", "11", "12"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.ratio.rows = 2; }, {"duplex", "w_fuse", "3", "2"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.w_fuse.tokens = 7; }, {"duplex", "w_fuse", "7", "8"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.v.dim = 6; }, {"duplex", "v", "6", "8"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.q.heads = 3; }, {"duplex", "q", "3", "2"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.q.tokens = 13, x.q.token_stride = 0; }, {"duplex", "q", "13", "12"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.decay = -1.f; }, {"duplex", "decay", "0"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.decay = 1.f, o.causal = false; }, {"duplex", "decay", "causal"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.length = 11; }, {"duplex", "length", "11", "12"}));
    EXPECT_TRUE(refused([](X&, O& o) { o.scale = std::nanf(""); }, {"duplex", "scale", "nan"}));
    EXPECT_TRUE(refused([](X& x, O&) { x.k.tokens = 0; }, {"duplex", "k", "0"}));
    EXPECT_TRUE(refuses([&] { duplex(d.inputs(false), {d.q.view()}); }, {"duplex", "o", "q"}));
    d.v.row(1, 3)[2] = std::nanf("");
    EXPECT_TRUE(refused([](X&, O& o) { o.check_data = true; }, {"duplex", "v", "nan"}));
}

}  // namespace
}  // namespace attenta_test
