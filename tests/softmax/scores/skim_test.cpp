#include <attenta/softmax/scores/skim.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "softmax/support/naive.hpp"
#include "support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::KvView, attenta::Matrices, attenta::SkimOptions;
using Row = std::vector<double>;

struct Page {
    Page(std::int64_t heads, std::int64_t tokens, std::int64_t dim, std::int64_t m, std::int64_t places,
         std::uint64_t seed)
        : H(heads), T(tokens), D(dim), random(seed) {
        for (std::int64_t t = 0; t < T; ++t) {
            const std::int64_t x = random.integer(0, places / 2), y = random.integer(0, places / 2);
            for (const std::int64_t c :
                 {x, y, x + random.integer(0, places / 2 - 1), y + random.integer(0, places / 2 - 1)})
                boxes.push_back(c);
        }
        for (auto& table : tables) table = random.normals(places * m);
        norm = random.normals(2 * m);
        for (auto* w : {&w_q, &w_k})
            for (float x : random.normals(H * m * D)) w->push_back(x / std::sqrt(static_cast<float>(m)));
        b_q = random.normals(H * D), b_k = random.normals(H * D);
        const auto matrix = [](const std::vector<float>& data, std::int64_t rows, std::int64_t cols) {
            return Matrices<const float>{data.data(), 1, rows, cols};
        };
        const std::span<const float> all = norm;
        layout = {.bbox = {boxes.data(), 1, T, 4},
                  .x_emb = matrix(tables[0], places, m),
                  .y_emb = matrix(tables[1], places, m),
                  .h_emb = matrix(tables[2], places, m),
                  .w_emb = matrix(tables[3], places, m),
                  .ln_weight = all.first(static_cast<std::size_t>(m)),
                  .ln_bias = all.last(static_cast<std::size_t>(m)),
                  .w_q = attenta::hnd<const float>(w_q.data(), H, m, D),
                  .w_k = attenta::hnd<const float>(w_k.data(), H, m, D),
                  .b_q = matrix(b_q, H, D),
                  .b_k = matrix(b_k, H, D)};
    }

    void hide(double chance) {
        mask = std::make_unique<bool[]>(static_cast<std::size_t>(H * T * T));
        for (std::int64_t i = 0; i < H * T * T; ++i)
            mask[static_cast<std::size_t>(i)] = random.chance(1 - chance) && i / T % 7 != 3;
        options.mask = {mask.get(), H, T, T};
    }

    std::int64_t H, T, D;
    Random random;
    std::vector<std::int64_t> boxes;
    std::vector<float> tables[4], norm, w_q, w_k, b_q, b_k;
    std::unique_ptr<bool[]> mask;
    attenta::SkimLayout layout;
    SkimOptions options;
};

/// The layout's scores [H, T, T].
std::vector<double> naive_scores(const Page& p) {
    const auto& x = p.layout;
    const std::int64_t m = x.x_emb.cols;
    std::vector<Row> e;
    for (std::int64_t t = 0; t < p.T; ++t) {
        const std::int64_t* const b = x.bbox.row(0, t);
        Row row(static_cast<std::size_t>(m));
        const auto add = [&](const Matrices<const float>& table, std::int64_t n) {
            for (std::size_t c = 0; c < row.size(); ++c) row[c] += double{table.row(0, n)[c]};
        };
        if (p.options.centres_only) {
            add(x.x_emb, (b[0] + b[2]) / 2), add(x.y_emb, (b[1] + b[3]) / 2);
        } else {
            add(x.x_emb, b[0]), add(x.y_emb, b[1]), add(x.x_emb, b[2]), add(x.y_emb, b[3]);
            add(x.h_emb, b[3] - b[1]), add(x.w_emb, b[2] - b[0]);
        }
        row = naive_normalised(std::move(row), true, double{p.options.eps});
        for (std::size_t c = 0; c < row.size(); ++c) row[c] = row[c] * double{x.ln_weight[c]} + double{x.ln_bias[c]};
        e.push_back(std::move(row));
    }
    const auto projected = [&](const Row& row, const attenta::Heads<const float>& w, const Matrices<const float>& bias,
                               std::int64_t h) {
        Row y = wide(bias.row(0, h), p.D);
        for (std::int64_t i = 0; i < m; ++i)
            for (std::size_t d = 0; d < y.size(); ++d)
                y[d] += row[static_cast<std::size_t>(i)] * double{w.row(h, i)[d]};
        return y;
    };
    std::vector<double> scores;
    for (std::int64_t h = 0; h < p.H; ++h)
        for (std::int64_t i = 0; i < p.T; ++i)
            for (std::int64_t j = 0; j < p.T; ++j)
                scores.push_back(naive_scale(p.options.scale, p.D) *
                                 naive_dot(projected(e[static_cast<std::size_t>(i)], x.w_q, x.b_q, h),
                                           projected(e[static_cast<std::size_t>(j)], x.w_k, x.b_k, h)));
    return scores;
}

bool visible(const Page& p, std::int64_t h, std::int64_t i, std::int64_t j) {
    return !p.options.mask || p.options.mask.row(h, i)[j];
}

TEST(Skim, OneAttentionForAllLayers) {
    std::uint64_t seed = 1;
    for (const auto& [H, Hkv, T, D, Dv, L] : {std::array<std::int64_t, 6>{3, 3, 23, 12, 10, 3},
                                              {2, 1, 31, 8, 14, 1},
                                              {4, 2, 70, 9, 5, 2},
                                              {1, 1, 1, 8, 8, 1}})
        for (int variant = 0; variant < 3; ++variant) {
            Page p(H, T, D, 21, 40, ++seed);
            p.options.centres_only = variant == 1;
            if (variant == 2) p.hide(0.4), p.options.scale = 0.7f;
            const std::vector<double> scores = naive_scores(p);
            const std::vector<float> v = p.random.normals(L * Hkv * T * Dv);
            on_every_isa([&](Context& context) {
                std::vector<float> o(static_cast<std::size_t>(L * H * T * Dv));
                Output got(H, T, Dv);
                attenta::skim(p.layout, attenta::bhnd<const float>(v.data(), L, Hkv, T, Dv),
                              {attenta::bhnd(o.data(), L, H, T, Dv), got.lse.data()}, p.options, context);
                for (std::int64_t l = 0; l < L; ++l) {
                    const NaiveAttention attention{
                        .score = [&](std::int64_t h, std::int64_t i,
                                     std::int64_t j) { return scores[static_cast<std::size_t>((h * T + i) * T + j)]; },
                        .sees = [&](std::int64_t h, std::int64_t i, std::int64_t j) { return visible(p, h, i, j); }};
                    std::copy_n(o.data() + l * H * T * Dv, H * T * Dv, got.o.view().data);
                    EXPECT_TRUE(close(
                        got, attention(H, T, attenta::hnd<const float>(v.data() + l * Hkv * T * Dv, Hkv, T, Dv))));
                }
            });
        }
}

TEST(Skim, MaskKeepsTheBestKeys) {
    std::uint64_t seed = 50;
    for (const std::int64_t top : {1, 7, 28, 29, 1000})
        for (int variant = 0; variant < 4; ++variant) {
            const std::int64_t H = 4, Hkv = 2, T = 29, Dq = 10, Dv = 12;
            Page p(H, T, 8, 20, 30, ++seed);
            p.options.top_k = top;
            if (variant == 1) p.hide(0.5);
            if (variant == 2) p.options.scale = -0.5f;
            if (variant == 3) p.options.scale = 0.f;  // all scores are equal: the first keys
            const Tensor<float> q = random_tensor(p.random, H, T, Dq), k = random_tensor(p.random, Hkv, T, Dq),
                                v = random_tensor(p.random, Hkv, T, Dv);
            const std::vector<double> scores = naive_scores(p);
            std::vector<bool> kept(static_cast<std::size_t>(H * T * T));
            bool close_call = false;  // scores that floats cannot tell apart
            for (std::int64_t row = 0; row < H * T; ++row) {
                std::vector<std::int64_t> order;
                for (std::int64_t j = 0; j < T; ++j)
                    if (visible(p, row / T, row % T, j)) order.push_back(j);
                const auto score = [&](std::int64_t j) { return scores[static_cast<std::size_t>(row * T + j)]; };
                std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return score(a) > score(b); });
                for (std::size_t n = 0; n < order.size() && static_cast<std::int64_t>(n) < top; ++n)
                    kept[static_cast<std::size_t>(row * T + order[n])] = true;
                const auto cut = static_cast<std::size_t>(top);
                if (variant != 3 && order.size() > cut)
                    close_call = close_call || score(order[cut - 1]) - score(order[cut]) < 1e-5;
            }
            if (close_call) continue;
            const NaiveAttention attention{
                .score =
                    [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                        return naive_dot(wide(q.row(h, i), Dq), wide(k.row(h / 2, j), Dq)) / std::sqrt(10.0);
                    },
                .sees = [&](std::int64_t h, std::int64_t i,
                            std::int64_t j) { return kept[static_cast<std::size_t>((h * T + i) * T + j)]; }};
            const Naive want = attention(H, T, v.view());
            on_every_isa([&](Context& context) {
                Output got(H, T, Dv);
                const auto keep = std::make_unique<bool[]>(kept.size());
                attenta::SkimMaskOutputs out;
                out.o = got.o.view(), out.lse = got.lse.data(), out.keep = keep.get();
                attenta::skim_mask(p.layout, q.view(), KvView::of(k.view(), v.view()), out, p.options, context);
                EXPECT_TRUE(close(got, want)) << top << ' ' << variant;
                EXPECT_TRUE(std::equal(kept.begin(), kept.end(), keep.get())) << top << ' ' << variant;
            });
        }
}

TEST(Skim, Refuses) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        Page p(2, 9, 8, 12, 20, 3);
        std::vector<float> v(2 * 9 * 4), o(2 * 9 * 4, 7);
        attenta::SkimOutputs out{attenta::bhnd(o.data(), 1, 2, 9, 4)};
        spoil(p, out);
        const auto result = refuses(
            [&] { attenta::skim(p.layout, attenta::bhnd<const float>(v.data(), 1, 2, 9, 4), out, p.options); }, words);
        if (o != std::vector<float>(o.size(), 7)) return testing::AssertionFailure() << "o was written";
        return result;
    };
    using Out = attenta::SkimOutputs;
    EXPECT_TRUE(refused({"skim", "bbox", "20", "19"}, [](Page& p, Out&) { p.boxes[6] = 20; }));
    EXPECT_TRUE(refused({"skim", "bbox", "-1"}, [](Page& p, Out&) { p.boxes[4] = -1; }));
    EXPECT_TRUE(refused({"skim", "bbox", "5", "4"}, [](Page& p, Out&) { p.boxes[8] = 5, p.boxes[10] = 4; }));
    EXPECT_TRUE(refused({"skim", "h_emb"}, [](Page& p, Out&) { p.layout.h_emb = {}; }));
    EXPECT_TRUE(refused({"skim", "w_q", "11"}, [](Page& p, Out&) { p.layout.w_q.tokens = p.layout.w_k.tokens = 11; }));
    EXPECT_TRUE(refused({"skim", "b_k", "7"}, [](Page& p, Out&) { p.layout.b_k.cols = 7; }));
    EXPECT_TRUE(refused({"skim", "top_k", "-3"}, [](Page& p, Out&) { p.options.top_k = -3; }));
    EXPECT_TRUE(refused({"skim", "eps"}, [](Page& p, Out&) { p.options.eps = -1; }));
    EXPECT_TRUE(refused({"skim", "scale"}, [](Page& p, Out&) { p.options.scale = INFINITY; }));
    EXPECT_TRUE(refused({"skim", "mask", "10"}, [](Page& p, Out&) { p.hide(0), p.options.mask.cols = 10; }));
    EXPECT_TRUE(refused({"skim", "o"}, [](Page&, Out& out) { out.o.tokens = 8; }));
    EXPECT_TRUE(refused({"skim", "o", "null"}, [](Page&, Out& out) { out.o.data = nullptr; }));
    EXPECT_TRUE(refused({"skim", "o", "overlaps", "w_q"}, [](Page& p, Out& out) { out.o.data = p.w_q.data(); }));

    Page p(2, 9, 8, 12, 20, 3);
    Tensor<float> q(2, 9, 4), k(2, 9, 4), o(2, 9, 4);
    attenta::SkimMaskOutputs out;
    out.o = o.view();
    const auto call = [&] { attenta::skim_mask(p.layout, q.view(), KvView::of(k.view(), k.view()), out, p.options); };
    EXPECT_TRUE(refuses(call, {"skim_mask", "top_k", "0", "1"}));
    p.options.top_k = 3;
    p.options.scale = NAN;
    EXPECT_TRUE(refuses(call, {"skim_mask", "scale"}));
    p.options.scale.reset();
    q = Tensor<float>(2, 8, 4);
    EXPECT_TRUE(refuses(call, {"skim_mask", "q", "8", "9"}));
}

}  // namespace
}  // namespace attenta_test
