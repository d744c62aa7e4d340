// Linear additive attention equals its definition in all layouts and on any threads; its errors.
#include <attenta/linear/features/additive_linear.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "linear/support/naive.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {
namespace {

using attenta::AdditiveLinearInputs, attenta::AdditiveLinearOptions, attenta::AdditiveLinearOutputs;
using attenta::AdditiveMode, attenta::Context;

struct Pooled {
    std::vector<double> global, weights;  // [H, D], [H, T]
};

/// softmax_t(scale (weight_h · x^cat_t + bias_h)), and the sum of x_ht with these weights; x(h, t, d).
template <class X>
Pooled naive_pool(X&& x, std::int64_t H, std::int64_t T, std::int64_t D, attenta::Matrices<const float> weight,
                  std::span<const float> bias, double scale) {
    Pooled p;
    for (std::int64_t h = 0; h < H; ++h) {
        Row a;
        for (std::int64_t t = 0; t < T; ++t) {
            double score = bias.empty() ? 0 : double{bias[static_cast<std::size_t>(h)]};
            for (std::int64_t w = 0; w < H * D; ++w) score += double{weight.row(0, h)[w]} * x(w / D, t, w % D);
            a.push_back(scale * score);
        }
        const double top = *std::max_element(a.begin(), a.end());
        double sum = 0;
        for (double& e : a) sum += e = std::exp(e - top);
        for (double& e : a) p.weights.push_back(e / sum);
        for (std::int64_t d = 0; d < D; ++d) {
            double y = 0;
            for (std::int64_t t = 0; t < T; ++t) y += a.data()[t] / sum * x(h, t, d);
            p.global.push_back(y);
        }
    }
    return p;
}

struct NaiveAdditive {
    Pooled q, k;
    std::vector<double> o;  // [H, Tk, D]
};

//   lada: o = q̄ ∘ k ∘ v;  fastformer: p = q̄ ∘ k, u = k̄ ∘ v, u^cat <- transform u^cat + bias, o = u + q
NaiveAdditive naive_additive(const AdditiveLinearInputs& in, const AdditiveLinearOptions& o) {
    const std::int64_t H = in.q.heads, D = in.q.dim, W = H * D, Tk = in.k.tokens;
    const double scale = naive_scale(o.scale, D);
    const auto of = [](View x) {
        return [x](std::int64_t h, std::int64_t t, std::int64_t d) { return double{x.row(h, t)[d]}; };
    };
    NaiveAdditive r;
    r.q = naive_pool(of(in.q), H, in.q.tokens, D, in.query_weight, in.query_bias, scale);
    const auto p = [&](std::int64_t h, std::int64_t t, std::int64_t d) {
        return r.q.global.data()[h * D + d] * double{in.k.row(h, t)[d]};
    };
    const bool fastformer = o.mode == AdditiveMode::fastformer;
    if (fastformer) r.k = naive_pool(p, H, Tk, D, in.key_weight, in.key_bias, scale);
    for (std::int64_t h = 0; h < H; ++h)
        for (std::int64_t t = 0; t < Tk; ++t)
            for (std::int64_t d = 0; d < D; ++d) {
                const auto u = [&](std::int64_t w) { return r.k.global.data()[w] * double{in.v.row(w / D, t)[w % D]}; };
                double y = fastformer ? u(h * D + d) : p(h, t, d) * double{in.v.row(h, t)[d]};
                if (fastformer && in.transform_weight) {
                    y = in.transform_bias.empty() ? 0 : double{in.transform_bias.data()[h * D + d]};
                    for (std::int64_t w = 0; w < W; ++w) y += double{in.transform_weight.row(0, h * D + d)[w]} * u(w);
                }
                r.o.push_back(y + (fastformer ? double{in.q.row(h, t)[d]} : 0));
            }
    return r;
}

/// A call with all that it borrows.
struct AdditiveCall {
    AdditiveCall(std::int64_t heads, std::int64_t Tq, std::int64_t Tk, std::int64_t dim, AdditiveMode mode,
                 bool transform, std::uint64_t seed = 1, Order order = Order::head_token, std::int64_t pad = 0)
        : random(seed),
          q(random_tensor(random, heads, Tq, dim, order, pad)),
          k(random_tensor(random, heads, Tk, dim, order, pad)),
          v(random_tensor(random, heads, Tk, dim, order, pad)),
          o(heads, Tk, dim, order, pad) {
        const std::int64_t W = heads * dim;
        options.mode = mode;
        x.q = q.view(), x.k = k.view(), x.v = v.view();
        x.query_weight = matrix(heads, W), x.query_bias = vector(heads);
        if (mode == AdditiveMode::fastformer) x.key_weight = matrix(heads, W), x.key_bias = vector(heads);
        if (transform) x.transform_weight = matrix(W, W), x.transform_bias = vector(W);
        out.o = o.view();
        for (const auto& [to, n] :
             {std::pair{&out.global_q, dim}, {&out.query_weights, Tq}, {&out.global_k, dim}, {&out.key_weights, Tk}})
            *to = memory.emplace_back(static_cast<std::size_t>(heads * n)).data();
        std::ostringstream text;
        text << "H " << heads << " Tq " << Tq << " Tk " << Tk << " D " << dim << (transform ? ", transform" : "")
             << (mode == AdditiveMode::lada ? ", lada" : ", fastformer") << ", pad " << pad;
        words = text.str();
    }

    Random random;
    Tensor<float> q, k, v, o;
    std::vector<std::vector<float>> memory = reserved();
    AdditiveLinearInputs x;
    AdditiveLinearOutputs out;
    AdditiveLinearOptions options;
    std::string words;

    void run(Context& context = attenta::default_context()) { attenta::additive_linear(x, out, options, context); }
    std::vector<float> rows() const {
        std::vector<float> all;
        o.each_row([&](float* row, std::int64_t, std::int64_t) { all.insert(all.end(), row, row + o.view().dim); });
        return all;
    }

private:
    static std::vector<std::vector<float>> reserved() {
        std::vector<std::vector<float>> m;
        m.reserve(16);
        return m;
    }
    std::span<const float> vector(std::int64_t n) { return memory.emplace_back(random.normals(n)); }
    attenta::Matrices<const float> matrix(std::int64_t rows, std::int64_t cols) {
        std::vector<float>& m = memory.emplace_back(random.normals(rows * cols));
        for (float& e : m) e /= std::sqrt(static_cast<float>(cols));
        return {m.data(), 1, rows, cols};
    }
};

void expect_close(std::string_view what, std::span<const float> got, const std::vector<double>& want,
                  const std::string& words) {
    double scale = 1;
    for (const double e : want) scale = std::max(scale, std::abs(e));
    for (std::size_t i = 0; i < want.size(); ++i)
        ASSERT_NEAR(double{got[i]}, want[i], 2e-5 * scale + 2e-4 * std::abs(want[i]))
            << what << " " << i << ", " << words;
}

void expect_definition(AdditiveCall& c) {
    const NaiveAdditive want = naive_additive(c.x, c.options);
    on_every_isa([&](Context& context) {
        c.run(context);
        expect_close("o", c.rows(), want.o, c.words);
        expect_close("global_q", {c.out.global_q, want.q.global.size()}, want.q.global, c.words);
        expect_close("query_weights", {c.out.query_weights, want.q.weights.size()}, want.q.weights, c.words);
        expect_close("global_k", {c.out.global_k, want.k.global.size()}, want.k.global, c.words);
        expect_close("key_weights", {c.out.key_weights, want.k.weights.size()}, want.k.weights, c.words);
        EXPECT_TRUE(c.o.padding_is_untouched()) << c.words;
    });
}

TEST(AdditiveLinear, HoldsForAwkwardShapesAndLayouts) {
    Random random(4);
    for (const std::int64_t T : {1, 2, 7, 33, 64, 130})
        for (const std::int64_t D : {1, 7, 16, 33})
            for (const std::int64_t H : {1, 3}) {
                const Order order = random.chance(0.5) ? Order::head_token : Order::token_head;
                const std::int64_t pad = random.pick<std::int64_t>({0, 0, 3, 16});
                const auto seed = static_cast<std::uint64_t>(100 * T + D);
                AdditiveCall lada(H, T, T + random.integer(0, 5), D, AdditiveMode::lada, false, seed, order, pad),
                    plain(H, T, T, D, AdditiveMode::fastformer, false, seed, order, pad),
                    transform(H, T, T, D, AdditiveMode::fastformer, true, seed, order, pad);
                for (AdditiveCall* c : {&lada, &plain, &transform}) expect_definition(*c);
            }
}

TEST(AdditiveLinear, HoldsForWideHeadsScalesAndMissingParts) {
    AdditiveCall wide(8, 50, 50, 64, AdditiveMode::fastformer, true), none(2, 9, 9, 8, AdditiveMode::fastformer, true),
        sharp(2, 33, 33, 16, AdditiveMode::lada, false);
    none.x.query_bias = none.x.key_bias = none.x.transform_bias = {};
    none.options.scale = -0.5f;
    sharp.options.scale = 40;
    for (AdditiveCall* c : {&wide, &none, &sharp}) expect_definition(*c);
}

TEST(AdditiveLinear, ThreadsAndLayoutsChangeNoBit) {
    attenta::ThreadPool pool(2);
    Context two(pool);
    for (const AdditiveMode mode : {AdditiveMode::lada, AdditiveMode::fastformer}) {
        const bool transform = mode == AdditiveMode::fastformer;
        AdditiveCall one(4, 70, 70, 24, mode, transform), same(4, 70, 70, 24, mode, transform),
            other(4, 70, 70, 24, mode, transform, 1, Order::token_head, 3);
        Context context;
        one.run(context), same.run(two), other.run(context);
        EXPECT_EQ(one.rows(), same.rows()) << one.words;
        EXPECT_EQ(one.rows(), other.rows()) << one.words;
    }
}

/// A NaN of v stays in its row, and in its channel where nothing mixes them.
TEST(AdditiveLinear, NanOfAValueStaysInItsRow) {
    for (const bool transform : {false, true}) {
        AdditiveCall c(2, 20, 20, 8, AdditiveMode::fastformer, transform);
        c.v.row(1, 7)[3] = std::numeric_limits<float>::quiet_NaN();
        c.run();
        c.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
            for (std::int64_t d = 0; d < 8; ++d)
                EXPECT_EQ(std::isnan(row[d]), t == 7 && (transform || (h == 1 && d == 3))) << h << " " << t << " " << d;
        });
    }
}

template <class Spoil>
testing::AssertionResult refused(std::initializer_list<std::string_view> words, Spoil&& spoil,
                                 AdditiveMode mode = AdditiveMode::fastformer) {
    AdditiveCall c(2, 6, 6, 8, mode, mode == AdditiveMode::fastformer);
    spoil(c);
    const std::vector<float> before = c.o.memory();
    const testing::AssertionResult result = refuses([&] { c.run(); }, words);
    if (result && std::memcmp(before.data(), c.o.memory().data(), before.size() * sizeof(float)) != 0)
        return testing::AssertionFailure() << "o was written";
    return result;
}

TEST(AdditiveLinearErrors, ShapesAndMissingInputs) {
    const std::string_view f = "additive_linear";
    EXPECT_TRUE(refused({f, "k", "3", "2"}, [](AdditiveCall& c) { c.x.k.heads = 3; }));
    EXPECT_TRUE(refused({f, "v", "7", "8"}, [](AdditiveCall& c) { c.x.v.dim = 7; }));
    EXPECT_TRUE(refused({f, "v", "5", "6"}, [](AdditiveCall& c) { c.x.v.tokens = 5; }));
    EXPECT_TRUE(refused({f, "q", "5", "6"}, [](AdditiveCall& c) { c.x.q.tokens = 5; }));
    EXPECT_TRUE(refused({f, "q", "0"}, [](AdditiveCall& c) { c.x.q.tokens = 0; }));
    EXPECT_TRUE(refused({f, "q", "null"}, [](AdditiveCall& c) { c.x.q.data = nullptr; }));
    EXPECT_TRUE(refused({f, "query_weight", "15", "16"}, [](AdditiveCall& c) { c.x.query_weight.cols = 15; }));
    EXPECT_TRUE(refused({f, "query_weight", "3", "2"}, [](AdditiveCall& c) { c.x.query_weight.rows = 3; }));
    EXPECT_TRUE(
        refused({f, "query_bias", "1", "2"}, [](AdditiveCall& c) { c.x.query_bias = c.x.query_bias.first(1); }));
    EXPECT_TRUE(refused({f, "key_weight"}, [](AdditiveCall& c) { c.x.key_weight = {}; }));
    EXPECT_TRUE(refused({f, "transform_weight"}, [](AdditiveCall& c) { c.x.transform_weight = {}; }));
    EXPECT_TRUE(refused({f, "transform_weight", "15", "16"}, [](AdditiveCall& c) { c.x.transform_weight.rows = 15; }));
    EXPECT_TRUE(refused({f, "k"}, [](AdditiveCall& c) { c.x.k.head_stride = std::int64_t{1} << 62; }));
}

TEST(AdditiveLinearErrors, OutputsScalesAndNumbers) {
    const std::string_view f = "additive_linear";
    const float nan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(refused({f, "o", "5", "6"}, [](AdditiveCall& c) { c.out.o.tokens = 5; }));
    EXPECT_TRUE(refused({f, "o", "null"}, [](AdditiveCall& c) { c.out.o.data = nullptr; }));
    EXPECT_TRUE(refused({f, "o", "v"}, [](AdditiveCall& c) { c.x.v = c.out.o; }));
    EXPECT_TRUE(refused({f, "global_q", "o"}, [](AdditiveCall& c) { c.out.global_q = c.out.o.data; }));
    EXPECT_TRUE(refused({f, "key_weights", "global_k"}, [](AdditiveCall& c) { c.out.key_weights = c.out.global_k; }));
    EXPECT_TRUE(refused({f, "scale", "nan"}, [nan](AdditiveCall& c) { c.options.scale = nan; }));
    EXPECT_TRUE(refused(
        {f, "v", "nan"}, [nan](AdditiveCall& c) { c.options.check_data = true, c.v.row(1, 5)[7] = nan; },
        AdditiveMode::lada));
}

}  // namespace
}  // namespace attenta_test
