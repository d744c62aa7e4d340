// Vector-quantised attention equals its definition, key by key; its cache; threads; its own errors.
#include <attenta/linear/features/vq.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "linear/support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {
namespace {

using attenta::Context;

struct VqShape {
    std::int64_t Hq, Hkv, Tq, Tk, D, Dv, S, rel;  ///< rel 0: without biases
};

struct Vq {
    VqShape shape;
    attenta::VqOptions options;
    Random random;
    Tensor<float> q, v, codebook, k, bias_u, bias_v, rel;
    std::vector<std::int64_t> codes;  ///< given in place of k, or empty

    Vq(const VqShape& s, const attenta::VqOptions& o, std::uint64_t seed, bool shortcodes, float gain = 1,
       Order order = Order::head_token)
        : shape(s),
          options(o),
          random(seed),
          q(draw(s.Hq, s.Tq, s.D, gain, order)),
          v(draw(s.Hkv, s.Tk, s.Dv, 1, order)),
          codebook(draw(s.Hkv, s.S, s.D, 1, order)),
          k(draw(s.Hkv, s.Tk, s.D, 1, order)),
          bias_u(draw(s.Hq, 1, s.D, 1, Order::head_token)),
          bias_v(draw(s.Hq, 1, s.D, 1, Order::head_token)),
          rel(draw(s.Hq, std::max<std::int64_t>(s.rel, 1), s.D, 1, order)) {
        for (std::int64_t n = 0; shortcodes && n < s.Hkv * s.Tk; ++n) codes.push_back(random.integer(0, s.S - 1));
    }

    Tensor<float> draw(std::int64_t heads, std::int64_t tokens, std::int64_t dim, float gain, Order order) {
        Tensor<float> x(heads, tokens, dim, order);
        x.each_row([&](float* row, std::int64_t, std::int64_t) {
            for (std::int64_t c = 0; c < dim; ++c) row[c] = gain * random.normal();
        });
        return x;
    }
    attenta::VqInputs inputs() const {
        attenta::VqInputs x{q.view(), v.view(), codebook.view()};
        if (codes.empty())
            x.k = k.view();
        else
            x.shortcodes = attenta::hnd(codes.data(), shape.Hkv, shape.Tk, 1);
        if (shape.rel > 0) x.bias_u = bias_u.view(), x.bias_v = bias_v.view(), x.rel = rel.view();
        return x;
    }
};

struct VqResult {
    std::vector<double> o, lse, count, value;
    std::vector<std::int64_t> codes;
};

//   s_ij = scale ((q_i + bias_u)·ĉ_{z_j} + [d <= R] (q_i + bias_v)·rel_d),  d = i − j >= 0;   o_i = softmax_j(s_i) v
VqResult naive_vq(const Vq& c) {
    const auto [Hq, Hkv, Tq, Tk, D, Dv, S, rel] = c.shape;
    const auto sized = [](std::int64_t n) { return Row(static_cast<std::size_t>(n)); };
    VqResult r{sized(Hq * Tq * Dv), sized(Hq * Tq), sized(Hkv * S), sized(Hkv * S * Dv), c.codes};
    for (std::int64_t g = 0; g < Hkv && c.codes.empty(); ++g)
        for (std::int64_t j = 0; j < Tk; ++j) {
            std::vector<double> distances;
            for (std::int64_t s = 0; s < S; ++s) {
                double distance = 0;
                for (std::int64_t d = 0; d < D; ++d)
                    distance += std::pow(double{c.k.row(g, j)[d]} - double{c.codebook.row(g, s)[d]}, 2);
                distances.push_back(distance);
            }
            r.codes.push_back(std::min_element(distances.begin(), distances.end()) - distances.begin());
        }
    for (std::int64_t g = 0; g < Hkv; ++g) {
        for (std::int64_t j = 0; j < Tk - c.options.mem_len; ++j) {
            const std::int64_t code = g * S + r.codes.data()[g * Tk + j];
            r.count.data()[code] += 1;
            for (std::int64_t e = 0; e < Dv; ++e) r.value.data()[code * Dv + e] += double{c.v.row(g, j)[e]};
        }
        for (std::int64_t n = g * S * Dv; n < (g + 1) * S * Dv; ++n)
            r.value.data()[n] /= std::max(r.count.data()[n / Dv], 1.0);
    }
    const double scale = c.options.scale ? double{*c.options.scale} : 1 / std::sqrt(static_cast<double>(D));
    for (std::int64_t h = 0; h < Hq; ++h)
        for (std::int64_t t = 0; t < Tq; ++t) {
            const std::int64_t i = Tk - Tq + t, g = h / (Hq / Hkv), row = h * Tq + t;
            Row u = naive_row(c.q.view(), h, Hq, t), w = u, scores;
            for (std::size_t d = 0; d < u.size() && rel > 0; ++d)
                u[d] += double{c.bias_u.row(h, 0)[d]}, w[d] += double{c.bias_v.row(h, 0)[d]};
            for (std::int64_t j = 0; j <= i; ++j) {
                double s = naive_dot(naive_row(c.codebook.view(), g, Hkv, r.codes.data()[g * Tk + j]).data(), u);
                if (i - j < rel) s += naive_dot(naive_row(c.rel.view(), h, Hq, i - j).data(), w);
                scores.push_back(scale * s);
            }
            const double top = *std::max_element(scores.begin(), scores.end());
            double sum = 0;
            for (std::int64_t j = 0; j <= i; ++j) {
                const double weight = std::exp(scores.data()[j] - top);
                sum += weight;
                for (std::int64_t e = 0; e < Dv; ++e) r.o.data()[row * Dv + e] += weight * double{c.v.row(g, j)[e]};
            }
            for (std::int64_t e = 0; e < Dv; ++e) r.o.data()[row * Dv + e] /= sum;
            r.lse.data()[row] = top + std::log(sum);
        }
    return r;
}

struct VqOutput {
    Tensor<float> o;
    std::vector<float> lse, count, value;
    std::vector<std::int64_t> codes;
};

VqOutput run(const Vq& c, Context& context) {
    const VqShape& s = c.shape;
    const auto n = [](std::int64_t size) { return static_cast<std::size_t>(size); };
    VqOutput r{Tensor<float>(s.Hq, s.Tq, s.Dv), std::vector<float>(n(s.Hq * s.Tq)), std::vector<float>(n(s.Hkv * s.S)),
               std::vector<float>(n(s.Hkv * s.S * s.Dv)), std::vector<std::int64_t>(n(s.Hkv * s.Tk))};
    attenta::vq(c.inputs(), {r.o.view(), r.lse.data(), r.codes.data(), r.count.data(), r.value.data()}, c.options,
                context);
    return r;
}

std::vector<Vq> cases() {
    std::vector<Vq> all;
    std::uint64_t seed = 1;
    for (const VqShape& s : {VqShape{1, 1, 1, 1, 8, 8, 1, 0},
                             {2, 2, 37, 37, 8, 6, 7, 9},
                             {4, 2, 41, 41, 10, 9, 12, 0},
                             {2, 2, 3, 50, 6, 16, 20, 4},
                             {4, 1, 300, 300, 24, 20, 33, 40},
                             {3, 3, 200, 331, 16, 7, 5, 1},
                             {2, 1, 1, 500, 33, 17, 64, 17}})
        for (const bool shortcodes : {false, true})
            for (const std::int64_t mem_len : {40, 1000}) {
                const Order order = ++seed % 3 == 0 ? Order::token_head : Order::head_token;
                const float gain = seed % 4 == 0 ? 30.f : 1.f;
                all.push_back(Vq(s, {.mem_len = mem_len}, seed, shortcodes, gain, order));
                if (seed % 2) all.back().options.scale = 0.3f;
            }
    return all;
}

void expect_near(const std::vector<float>& got, const std::vector<double>& want, double absolute) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t n = 0; n < want.size(); ++n)
        ASSERT_NEAR(double{got[n]}, want[n], absolute + 2e-4 * std::abs(want[n])) << n;
}

TEST(Vq, EqualsItsDefinition) {
    for (const Vq& c : cases()) {
        const VqResult want = naive_vq(c);
        on_every_isa([&](Context& context) {
            const VqOutput got = run(c, context);
            EXPECT_EQ(got.codes, want.codes);
            expect_near(rows_of(got.o), want.o, 2e-4);
            expect_near(got.lse, want.lse, 1e-4);
            expect_near(got.count, want.count, 0);
            expect_near(got.value, want.value, 1e-5);
        });
    }
}

/// Of codewords that are equal or nearly so, rounding must not choose.
TEST(Vq, TheNearestCodewordIsExact) {
    Vq c({1, 1, 64, 64, 16, 8, 10, 0}, {}, 5, false);
    for (std::int64_t d = 0; d < 16; ++d) {
        c.codebook.row(0, 7)[d] = c.codebook.row(0, 2)[d] = 100;
        c.codebook.row(0, 4)[d] = d == 3 ? 100.0001f : 100;
    }
    c.k.each_row([&](float* row, std::int64_t, std::int64_t t) {
        for (std::int64_t d = 0; d < 16; ++d) row[d] = t % 2 ? 100.f : 100.0002f;
    });
    Context context;
    EXPECT_EQ(run(c, context).codes, naive_vq(c).codes);
}

TEST(Vq, AnyNumberOfThreadsGivesTheSameBits) {
    attenta::ThreadPool two(2);
    for (const Vq& c : cases()) {
        Context serial, parallel(two);
        const VqOutput one = run(c, serial), other = run(c, parallel);
        EXPECT_EQ(rows_of(one.o), rows_of(other.o));
        EXPECT_EQ(one.lse, other.lse);
        EXPECT_EQ(one.codes, other.codes);
    }
}

TEST(VqErrors, ShapesCodesAndOptions) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil, bool shortcodes = false) {
        Vq c({4, 2, 9, 20, 8, 6, 5, 3}, {}, 3, shortcodes);
        attenta::VqInputs x = c.inputs();
        spoil(x, c.options);
        Tensor<float> o(4, 9, 6);
        return refuses([&] { attenta::vq(x, {.o = o.view()}, c.options); }, words);
    };
    using X = attenta::VqInputs;
    using O = attenta::VqOptions;
    EXPECT_TRUE(refused({"vq", "block_size", "0"}, [](X&, O& o) { o.block_size = 0; }));
    EXPECT_TRUE(refused({"vq", "mem_len", "-1"}, [](X&, O& o) { o.mem_len = -1; }));
    EXPECT_TRUE(refused({"vq", "rel", "3", "2"}, [](X&, O& o) { o.mem_len = 1; }));
    EXPECT_TRUE(refused({"vq", "shortcodes", "k"}, [](X& x, O&) { x.k.data = nullptr; }));
    std::vector<std::int64_t> codes(40);
    EXPECT_TRUE(refused({"vq", "shortcodes", "k"},
                        [&](X& x, O&) { x.shortcodes = attenta::hnd(std::as_const(codes).data(), 2, 20, 1); }));
    EXPECT_TRUE(refused({"vq", "codebook", "7", "8"}, [](X& x, O&) { x.codebook.dim = 7; }));
    EXPECT_TRUE(refused({"vq", "codebook", "2", "1"}, [](X& x, O&) { x.v.heads = 1; }));
    EXPECT_TRUE(refused({"vq", "9", "8"}, [](X& x, O&) { x.v.tokens = x.k.tokens = 8; }));
    EXPECT_TRUE(refused({"vq", "scale"}, [](X&, O& o) { o.scale = std::numeric_limits<float>::infinity(); }));
    codes[7] = 5;
    EXPECT_TRUE(refused(
        {"vq", "shortcodes", "5", "4"},
        [&](X& x, O&) { x.shortcodes = attenta::hnd(std::as_const(codes).data(), 2, 20, 1); }, true));
    EXPECT_TRUE(refused({"vq", "k"}, [](X& x, O& o) {
        o.check_data = true;
        *const_cast<float*>(x.k.row(1, 2)) = std::numeric_limits<float>::quiet_NaN();
    }));
}

}  // namespace
}  // namespace attenta_test
