// multi_token equals its definition step by step, in ranges, steps and threads; what it refuses.
#include <attenta/softmax/scores/multi_token.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "softmax/support/naive.hpp"
#include "support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/tensor.hpp"

namespace attenta_test {
namespace {

using attenta::Heads, attenta::MultiTokenInputs, attenta::MultiTokenOptions, attenta::PadKey;

struct Sizes {
    std::int64_t Hq, Hkv, Tq, Tk, D, Dv;
    std::int64_t A = 0, B = 0, Ap = 0, Bp = 0, C = 0;
    bool head_pre = false, norm = false;
    std::int64_t gates = 0;
};

struct MultiTokenCase {
    explicit MultiTokenCase(const Sizes& s) : sizes(s), random(17) {
        q = random_tensor(random, s.Hq, s.Tq, s.D, Order::token_head, 2);
        k = random_tensor(random, s.Hkv, s.Tk, s.D);
        v = random_tensor(random, s.Hkv, s.Tk, s.Dv, Order::token_head);
        pre = random_tensor(random, s.Hq, s.A, s.B, Order::head_token, 3, 0.4f);
        post = random_tensor(random, s.Hq, s.Ap, s.Bp, Order::head_token, 0, 0.4f);
        head_pre = random_tensor(random, 1, s.Hq, s.Hq, Order::head_token, 1, 0.5f);
        head_post = random_tensor(random, s.C > 0 ? s.Hq / s.C : 0, s.C, s.C, Order::head_token, 1, 0.5f);
        norm = random.normals(s.Dv);
        gate = random_tensor(random, 1, s.gates, s.Dv);
        bias = random.normals(s.gates);
    }
    MultiTokenInputs inputs() const {
        MultiTokenInputs x{q.view(), attenta::KvView::of(k.view(), v.view())};
        if (sizes.A > 0) x.kernel_pre = pre.view();
        if (sizes.Ap > 0) x.kernel_post = post.view();
        if (sizes.head_pre) x.head_pre = {head_pre.view().data, 1, sizes.Hq, sizes.Hq, head_pre.view().token_stride};
        if (sizes.C > 0) x.head_post = head_post.view();
        if (sizes.norm) x.norm_weight = norm;
        if (sizes.gates > 0) {
            x.gate_weight = {gate.view().data, 1, sizes.gates, sizes.Dv};
            x.gate_bias = bias;
        }
        return x;
    }

    Sizes sizes;
    Random random;
    Tensor<float> q, k, v, pre, post, head_pre, head_post, gate;
    std::vector<float> norm, bias;
};

/// [heads, queries, keys] in double.
using Cube = std::vector<std::vector<std::vector<double>>>;

Cube convolved(const Cube& x, const Heads<float>& kernel, PadKey pad) {
    const std::int64_t left = pad == PadKey::left ? kernel.dim - 1 : pad == PadKey::right ? 0 : (kernel.dim - 1) / 2;
    Cube y = x;
    const auto rows = std::ssize(x[0]), keys = std::ssize(x[0][0]);
    for (std::int64_t h = 0; h < std::ssize(x); ++h)
        for (std::int64_t i = 0; i < rows; ++i)
            for (std::int64_t j = 0; j < keys; ++j) {
                double sum = 0;
                for (std::int64_t a = 0; a < kernel.tokens; ++a)
                    for (std::int64_t b = 0; b < kernel.dim; ++b) {
                        const std::int64_t m = i - (kernel.tokens - 1) + a, n = j - left + b;
                        if (m >= 0 && n >= 0 && n < keys)
                            sum += double{kernel.row(h, a)[b]} * x.at(static_cast<std::size_t>(h))
                                                                     .at(static_cast<std::size_t>(m))
                                                                     .at(static_cast<std::size_t>(n));
                    }
                y.at(static_cast<std::size_t>(h)).at(static_cast<std::size_t>(i)).at(static_cast<std::size_t>(j)) = sum;
            }
    return y;
}

std::vector<double> definition(const MultiTokenCase& c, const MultiTokenOptions& o) {
    const Sizes& s = c.sizes;
    const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    Cube x(at(s.Hq), std::vector(at(s.Tq), std::vector<double>(at(s.Tk))));
    const auto seen = [&](std::int64_t i, std::int64_t j) { return j <= i + s.Tk - s.Tq; };
    const auto each = [&](auto&& f) {
        for (std::int64_t h = 0; h < s.Hq; ++h)
            for (std::int64_t i = 0; i < s.Tq; ++i)
                for (std::int64_t j = 0; j < s.Tk; ++j) f(h, i, j, x[at(h)][at(i)][at(j)]);
    };
    each([&](auto h, auto i, auto j, double& e) {
        e = naive_scale(o.scale, s.D) * naive_dot(wide(c.q.row(h, i), s.D), wide(c.k.row(h / (s.Hq / s.Hkv), j), s.D));
        if (s.A > 0 && !seen(i, j)) e = 0;
    });
    if (s.A > 0) x = convolved(x, c.pre.view(), o.pad_key);
    const auto mixed = [&](auto&& weight) {
        const Cube before = x;
        each([&](auto g, auto i, auto j, double& e) {
            e = 0;
            for (std::int64_t h = 0; h < s.Hq; ++h) e += weight(g, h) * before[at(h)][at(i)][at(j)];
        });
    };
    if (s.head_pre) mixed([&](auto g, auto h) { return double{c.head_pre.row(0, g)[h]}; });
    for (auto& head : x)
        for (std::int64_t i = 0; i < s.Tq; ++i) {
            double top = -std::numeric_limits<double>::infinity(), sum = 0;
            for (std::int64_t j = 0; j < s.Tk; ++j)
                if (seen(i, j)) top = std::max(top, head[at(i)][at(j)]);
            for (std::int64_t j = 0; j < s.Tk; ++j)
                sum += head[at(i)][at(j)] = seen(i, j) ? std::exp(head[at(i)][at(j)] - top) : 0;
            for (double& e : head[at(i)]) e /= sum;
        }
    if (s.Ap > 0) {
        x = convolved(x, c.post.view(), o.pad_key);
        each([&](auto, auto i, auto j, double& e) { e = seen(i, j) ? e : 0; });
    }
    if (s.C > 0)
        mixed([&](auto g, auto h) {
            return g / s.C == h / s.C ? double{c.head_post.row(h / s.C, h % s.C)[g % s.C]} : 0.0;
        });
    std::vector<double> out;
    for (std::int64_t h = 0; h < s.Hq; ++h)
        for (std::int64_t i = 0; i < s.Tq; ++i) {
            std::vector<double> row(at(s.Dv));
            for (std::int64_t j = 0; j < s.Tk; ++j)
                for (std::int64_t e = 0; e < s.Dv; ++e)
                    row[at(e)] += x[at(h)][at(i)][at(j)] * double{c.v.row(h / (s.Hq / s.Hkv), j)[e]};
            if (s.norm) {
                row = naive_normalised(row, false, double{o.eps});
                const double factor = o.depth ? 0.2 + 0.6 * std::exp(-0.3 * static_cast<double>(*o.depth)) : 1;
                for (std::int64_t e = 0; e < s.Dv; ++e) row[at(e)] *= factor * double{c.norm[at(e)]};
            }
            std::vector<double> gated = row;
            for (std::int64_t e = 0; s.gates > 0 && e < s.Dv; ++e) {
                const std::int64_t g = s.gates == 1 ? 0 : e;
                const double sum = naive_dot(row, wide(c.gate.row(0, g), s.Dv)) + double{c.bias[at(g)]};
                gated[at(e)] = row[at(e)] / (1 + std::exp(-sum));
            }
            out.insert(out.end(), gated.begin(), gated.end());
        }
    return out;
}

void expect_definition(const Sizes& s, const MultiTokenOptions& o, attenta::Context& context) {
    const MultiTokenCase c(s);
    const Tensor<float> got(s.Hq, s.Tq, s.Dv, Order::token_head, 1);
    attenta::multi_token(c.inputs(), got.view(), o, context);
    const auto want = definition(c, o);
    for (std::int64_t h = 0; h < s.Hq; ++h)
        for (std::int64_t i = 0; i < s.Tq; ++i)
            for (std::int64_t e = 0; e < s.Dv; ++e) {
                const double w = want[static_cast<std::size_t>((h * s.Tq + i) * s.Dv + e)];
                ASSERT_NEAR(double{got.row(h, i)[e]}, w, 3e-5 + 3e-4 * std::abs(w))
                    << "T " << s.Tk << ", " << h << " " << i;
            }
    EXPECT_TRUE(got.padding_is_untouched());
}

const Sizes shapes[] = {{1, 1, 1, 1, 4, 4},
                        {2, 1, 9, 9, 6, 5, 3, 3},
                        {4, 2, 13, 31, 8, 12, 3, 5, 2, 3, 2, true, true, 1},
                        {4, 4, 17, 17, 8, 12, 0, 0, 3, 5, 4, false, true, 12},
                        {3, 3, 1, 40, 8, 7, 6, 11, 6, 11, 3, true},
                        {2, 1, 150, 150, 16, 8, 6, 11},
                        {4, 2, 5, 20, 8, 8, 9, 1, 7, 3, 0, true, false, 8}};

TEST(MultiToken, EqualsTheDefinition) {
    on_every_isa([](attenta::Context& context) {
        for (const Sizes& s : shapes) {
            expect_definition(s, {}, context);
            MultiTokenOptions o;
            o.pad_key = PadKey::left, o.scale = -0.7f, o.depth = 4, o.eps = 0.01f;
            expect_definition(s, o, context);
            o.pad_key = PadKey::right;
            expect_definition(s, o, context);
        }
    });
}

/// Many keys, so that queries go in several ranges with their halos.
TEST(MultiToken, RangesMeetInTheirHalos) {
    attenta::Context context;
    expect_definition({16, 4, 60, 2300, 4, 4, 3, 3, 2, 3}, {}, context);
}

/// Queries behind a halo of earlier ones are what a longer call gives.
TEST(MultiToken, AStreamPassesTheHaloAgain) {
    const Sizes s{2, 1, 30, 30, 8, 6, 3, 3, 4, 3};
    const MultiTokenCase c(s);
    const Tensor<float> whole(2, 30, 6), part(2, 12, 6);
    attenta::multi_token(c.inputs(), whole.view());
    MultiTokenInputs x = c.inputs();
    x.q = Heads<const float>(c.q.view()).slice(18, 12);
    attenta::multi_token(x, part.view());
    for (std::int64_t h = 0; h < 2; ++h)
        for (std::int64_t t = 5; t < 12; ++t)
            for (std::int64_t e = 0; e < 6; ++e) EXPECT_NEAR(part.row(h, t)[e], whole.row(h, 18 + t)[e], 1e-5f);
}

TEST(MultiToken, GivesTheSameBitsForAnyThreads) {
    const MultiTokenCase c(shapes[5]);
    attenta::ThreadPool one(1), three(3);
    attenta::Context alone(one), context(three);
    const Tensor<float> a(2, 150, 8), b(2, 150, 8);
    attenta::multi_token(c.inputs(), a.view(), {}, alone);
    attenta::multi_token(c.inputs(), b.view(), {}, context);
    a.each_row([&](const float* row, std::int64_t h, std::int64_t t) { EXPECT_TRUE(same_bits(row, b.row(h, t), 8)); });
}

TEST(MultiTokenErrors, RefusesWhatDoesNotFit) {
    const MultiTokenCase c(shapes[2]);
    const Tensor<float> o(4, 13, 12);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            MultiTokenInputs x = c.inputs();
            MultiTokenOptions options;
            change(x, options);
            attenta::multi_token(x, o.view(), options);
        };
    };
    EXPECT_TRUE(
        refuses(call_with([](auto& x, auto&) { x.kernel_pre.dim = 4; }), {"multi_token", "kernel_pre", "4", "odd"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.kernel_post.heads = 2; }), {"kernel_post", "2", "4"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.kernel_post.tokens = 0; }), {"kernel_post", "0"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.head_pre.rows = 3; }), {"head_pre", "3", "4"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.head_post.heads = 1; }), {"head_post", "2", "4"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.gate_bias = {}; }), {"gate_bias"}));
    EXPECT_TRUE(
        refuses(call_with([](auto& x, auto&) { x.norm_weight = x.norm_weight.first(5); }), {"norm_weight", "5", "12"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.kv.tokens = 12; }), {"q", "13", "12"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& p) { p.eps = -1; }), {"eps", "1"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& p) { p.depth = -1; }), {"depth", "1"}));
    o.each_row([](const float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(std::isnan(row[0])); });
}

}  // namespace
}  // namespace attenta_test
