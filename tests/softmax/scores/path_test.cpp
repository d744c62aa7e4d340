// path_attention equals the definition token by token, cut anywhere, with gates and caches; what it refuses.
#include <attenta/softmax/scores/path.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <ostream>
#include <vector>

#include "softmax/support/naive.hpp"
#include "support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::Heads, attenta::PathCache, attenta::PathInputs, attenta::PathOptions;

struct Sizes {
    std::int64_t Hq, Hkv, T, D, Dv;
};
std::ostream& operator<<(std::ostream& out, const Sizes& s) {
    return out << "Hq " << s.Hq << " Hkv " << s.Hkv << " T " << s.T << " D " << s.D << " Dv " << s.Dv;
}

struct PathCase {
    PathCase(const Sizes& s, bool is_gated) : sizes(s), gated(is_gated), random(23) {
        q = random_tensor(random, s.Hq, s.T, s.D, Order::token_head, 2);
        k = random_tensor(random, s.Hkv, s.T, s.D);
        v = random_tensor(random, s.Hkv, s.T, s.Dv, Order::token_head);
        w = random_tensor(random, s.Hkv, s.T, s.D, Order::head_token, 1);
        beta = Tensor<float>(s.Hkv, s.T, 1);
        g = Tensor<float>(s.Hq, s.T, 1);
        w.each_row([&](float* row, std::int64_t, std::int64_t) {
            double size = 0;
            for (std::int64_t c = 0; c < s.D; ++c) size += double{row[c]} * double{row[c]};
            for (std::int64_t c = 0; c < s.D; ++c) row[c] /= static_cast<float>(std::sqrt(size));
        });
        beta.each_row([&](float* x, std::int64_t, std::int64_t) { *x = static_cast<float>(2 * random.uniform()); });
        g.each_row([&](float* x, std::int64_t, std::int64_t) {
            *x = static_cast<float>(std::log(0.6 + 0.4 * random.uniform()));
        });
    }
    PathInputs inputs(std::int64_t begin, std::int64_t count) const {
        const auto part = [&](const Tensor<float>& x) { return Heads<const float>(x.view()).slice(begin, count); };
        PathInputs x{part(q), part(k), part(v), part(w), part(beta)};
        if (gated) x.g = part(g);
        return x;
    }

    Sizes sizes;
    bool gated;
    Random random;
    Tensor<float> q, k, v, w, beta, g;
};

/// u = q_i; for j = i, i − 1, ...: a_ij = u·k_j, u ← u − β_j (u·w_j) w_j
Naive definition(const PathCase& c, const PathOptions& o) {
    const Sizes& s = c.sizes;
    const double scale = naive_scale(o.scale, s.D);
    std::vector<double> scores(static_cast<std::size_t>(s.Hq * s.T * s.T));
    const auto at = [&](std::int64_t h, std::int64_t i, std::int64_t j) -> double& {
        return scores[static_cast<std::size_t>((h * s.T + i) * s.T + j)];
    };
    for (std::int64_t h = 0; h < s.Hq; ++h)
        for (std::int64_t i = 0; i < s.T; ++i) {
            const std::int64_t kv = h / (s.Hq / s.Hkv);
            auto u = wide(c.q.row(h, i), s.D);
            double gates = 0;  // G_i − G_j
            for (std::int64_t j = i; j >= 0; --j) {
                at(h, i, j) = scale * naive_dot(u, wide(c.k.row(kv, j), s.D));
                if (c.gated) at(h, i, j) += (o.gate_scaled ? scale : 1) * gates;
                const auto w = wide(c.w.row(kv, j), s.D);
                const double along = double{*c.beta.row(kv, j)} * naive_dot(u, w);
                for (std::size_t e = 0; e < u.size(); ++e) u[e] -= along * w[e];
                gates += double{*c.g.row(h, j)};
            }
        }
    return NaiveAttention{.score = [&](auto h, auto i, auto j) { return at(h, i, j); },
                          .sees = [](auto, auto i, auto j) { return j <= i; }}(s.Hq, s.T, c.v.view());
}

const Sizes shapes[] = {
    {1, 1, 1, 8, 8}, {4, 2, 37, 12, 20}, {3, 3, 64, 16, 9}, {4, 1, 200, 10, 14}, {2, 2, 129, 33, 8}};

TEST(Path, EqualsTheDefinition) {
    on_every_isa([](attenta::Context& context) {
        for (const Sizes& s : shapes)
            for (const bool gated : {false, true})
                for (const bool gate_scaled : {true, false}) {
                    const PathCase c(s, gated);
                    PathOptions o;
                    o.gate_scaled = gate_scaled;
                    if (!gate_scaled) o.scale = 0.7f;
                    Output out(s.Hq, s.T, s.Dv, Order::token_head, 1);
                    PathCache cache;
                    attenta::path_attention(c.inputs(0, s.T), {out.o.view(), out.lse.data()}, cache, o, context);
                    EXPECT_TRUE(close(out, definition(c, o), {1e-4, 5e-4})) << s << (gated ? ", gated" : "");
                    EXPECT_EQ(cache.tokens(), s.T);
                }
    });
}

/// A cut changes numbers by rounding alone, and so does a cache that another has filled.
TEST(Path, MayBeCutAnywhere) {
    for (const bool gated : {false, true}) {
        const PathCase c({4, 2, 90, 12, 10}, gated);
        const Naive want = definition(c, {});
        for (const std::int64_t step : {1, 7, 64, 89}) {
            PathCache cache;
            for (std::int64_t begin = 0; begin < 90; begin += step) {
                const std::int64_t n = std::min<std::int64_t>(step, 90 - begin);
                Output out(4, n, 10);
                attenta::path_attention(c.inputs(begin, n), {out.o.view(), out.lse.data()}, cache);
                for (std::int64_t h = 0; h < 4; ++h)
                    for (std::int64_t t = 0; t < n; ++t) {
                        for (std::int64_t e = 0; e < 10; ++e)
                            EXPECT_NEAR(double{out.o.row(h, t)[e]}, want.o_row(h, begin + t)[e], 2e-4) << step;
                        EXPECT_NEAR(double{out.lse_at(h, t)}, want.lse[static_cast<std::size_t>(h * 90 + begin + t)],
                                    2e-4);
                    }
            }
            PathCache copy;
            const Tensor<float>& g = c.g;
            copy.load(cache.keys(), cache.values(), gated ? Heads<const float>(g.view()) : Heads<const float>{});
            EXPECT_EQ(copy.tokens(), 90);
            EXPECT_EQ(copy.gated(), gated);
            EXPECT_EQ(copy.keys().row(1, 50)[3], cache.keys().row(1, 50)[3]);
        }
    }
}

TEST(Path, GivesTheSameBitsForAnyThreads) {
    const PathCase c(shapes[3], true);
    attenta::ThreadPool one(1), three(3);
    attenta::Context alone(one), context(three);
    Output a(4, 200, 14), b(4, 200, 14);
    PathCache first, second;
    attenta::path_attention(c.inputs(0, 200), {a.o.view(), a.lse.data()}, first, {}, alone);
    attenta::path_attention(c.inputs(0, 200), {b.o.view(), b.lse.data()}, second, {}, context);
    a.o.each_row(
        [&](const float* row, std::int64_t h, std::int64_t t) { EXPECT_TRUE(same_bits(row, b.o.row(h, t), 14)); });
    EXPECT_EQ(a.lse, b.lse);
}

TEST(PathErrors, RefusesWhatDoesNotFit) {
    const PathCase c({4, 2, 9, 8, 6}, true);
    Output out(4, 9, 6);
    PathCache cache;
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            PathInputs x = c.inputs(0, 9);
            PathOptions o;
            attenta::PathOutputs to{out.o.view(), out.lse.data()};
            change(x, o, to);
            attenta::path_attention(x, to, cache, o);
        };
    };
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.w.dim = 7; }), {"path_attention", "w", "7", "8"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.beta.tokens = 8; }), {"beta", "8", "9"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.k.heads = x.v.heads = x.w.heads = x.beta.heads = 3; }),
                        {"q", "4", "3"}));
    EXPECT_TRUE(
        refuses(call_with([](auto&, auto& o, auto&) { o.scale = std::numeric_limits<float>::infinity(); }), {"scale"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& to) { to.o.dim = 7; }), {"o", "7", "6"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& to) { to.lse = to.o.data; }), {"lse", "overlaps"}));
    EXPECT_EQ(cache.tokens(), 0);
    call_with([](auto&, auto&, auto&) {})();
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.g = {}; }), {"cache", "gates", "4", "0"}));
    const PathCase other({4, 2, 9, 7, 6}, true);
    EXPECT_TRUE(refuses(
        [&] {
            attenta::path_attention(other.inputs(0, 9), {out.o.view(), nullptr}, cache);
        },
        {"cache", "8", "7"}));
    EXPECT_TRUE(refuses([&] { cache.load(c.k.view(), c.v.view()); }, {"PathCache::load", "9"}));
    PathCache empty;
    EXPECT_TRUE(
        refuses([&] { empty.load(c.k.view(), Heads<const float>(c.v.view()).slice(0, 8)); }, {"values", "8", "9"}));
    EXPECT_TRUE(refuses([&] { empty.load(c.k.view(), c.v.view(), Heads<const float>(c.g.view()).slice(0, 8)); },
                        {"gates", "8", "9"}));
}

}  // namespace
}  // namespace attenta_test
