// SEA equals its definition on all groups; threads; its own errors.
#include <attenta/linear/features/sea.hpp>

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

using attenta::SeaGroup, attenta::Context;

struct SeaShape {
    std::int64_t Hq, Hkv, Tq, Tk, D, Dv, W;
};

struct Sea {
    SeaShape shape;
    attenta::SeaOptions options;
    Random random;
    Tensor<float> q, k, v, estimate, mix_gate, row_scale;
    bool scaled = true;

    Sea(const SeaShape& s, const attenta::SeaOptions& o, std::uint64_t seed, Order order = Order::head_token)
        : shape(s),
          options(o),
          random(seed),
          q(draw(s.Hq, s.Tq, s.D, order)),
          k(draw(s.Hkv, s.Tk, s.D, order)),
          v(draw(s.Hkv, s.Tk, s.Dv, order)),
          estimate(draw(s.Hq, s.Tq, s.W, order)),
          mix_gate(draw(s.Hq, s.Tq, 1, order)),
          row_scale(draw(s.Hq, s.Tq, 1, order)) {}

    Tensor<float> draw(std::int64_t heads, std::int64_t tokens, std::int64_t dim, Order order) {
        Tensor<float> x(heads, tokens, dim, order);
        x.each_row([&](float* row, std::int64_t, std::int64_t) {
            for (std::int64_t c = 0; c < dim; ++c) row[c] = random.normal();
        });
        return x;
    }
    attenta::SeaInputs inputs() const {
        attenta::SeaInputs x{q.view(), attenta::KvView::of(View(k.view()), View(v.view())), estimate.view(),
                             mix_gate.view()};
        if (scaled) x.row_scale = row_scale.view();
        return x;
    }
};

struct SeaResult {
    std::vector<double> o, lse;
    std::vector<std::int64_t> kept;
};

double naive_sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

//   the B largest entries of each group are kept, the first of equal ones; query i reads key j where entry m_i(j) is
//   o = g sigmoid(row_scale) softmax-attention + (1 − g) average
SeaResult naive_sea(const Sea& c) {
    const auto [Hq, Hkv, Tq, Tk, D, Dv, W] = c.shape;
    const bool causal = c.options.causal;
    SeaResult r{Row(static_cast<std::size_t>(Hq * Tq * Dv)), Row(static_cast<std::size_t>(Hq * Tq)),
                std::vector<std::int64_t>(static_cast<std::size_t>(Hq * Tq * W))};
    const auto seen = [&, &Tq = Tq, &Tk = Tk](std::int64_t i) { return causal ? Tk - Tq + i + 1 : Tk; };
    const auto keep = [&](const std::vector<std::int64_t>& entries, double budget) {
        std::vector<std::int64_t> order = entries;
        const auto value = [&, &Tq = Tq, &W = W](std::int64_t e) {
            return c.estimate.row(e / (Tq * W), e / W % Tq)[e % W];
        };
        std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return value(a) > value(b); });
        const double count = std::clamp(std::nearbyint(budget), 1., static_cast<double>(order.size()));
        for (std::size_t n = 0; n < static_cast<std::size_t>(count); ++n)
            r.kept[static_cast<std::size_t>(order[n])] = 1;
    };
    const auto group_of = [&, &Tq = Tq, &W = W](std::int64_t e) {
        const std::int64_t h = e / (Tq * W), i = e / W % Tq;
        switch (c.options.group) {
            case SeaGroup::query:
                return h * Tq + i;
            case SeaGroup::causal_batch:
                return i;
            case SeaGroup::head:
                return h;
            case SeaGroup::batch:
                break;
        }
        return std::int64_t{0};
    };
    const std::int64_t entries = Hq * Tq * W;
    for (std::int64_t g = 0; g < Hq * Tq; ++g) {
        std::vector<std::int64_t> group;
        for (std::int64_t e = 0; e < entries; ++e)
            if (group_of(e) == g) group.push_back(e);
        if (group.empty()) continue;
        const double rows = static_cast<double>(group.size()) / static_cast<double>(W);
        const std::int64_t n = seen(group.front() / W % Tq);
        keep(group, rows * static_cast<double>(c.options.k * W) / static_cast<double>(n));
    }
    const double scale = c.options.scale ? double{*c.options.scale} : 1 / std::sqrt(static_cast<double>(D));
    for (std::int64_t h = 0; h < Hq; ++h)
        for (std::int64_t i = 0; i < Tq; ++i) {
            const std::int64_t n = seen(i), g = h / (Hq / Hkv), row = h * Tq + i;
            Row sparse(static_cast<std::size_t>(Dv)), average(static_cast<std::size_t>(Dv));
            const Row query = naive_row(c.q.view(), h, Hq, i);
            double sum = 0;
            for (std::int64_t j = 0; j < n; ++j) {
                const auto at = (static_cast<double>(j) + 0.5) / static_cast<double>(n) * static_cast<double>(W) - 1e-4;
                const auto m = std::max<std::int64_t>(static_cast<std::int64_t>(std::floor(at)), 0);
                double share = 1 / static_cast<double>(n);
                if (!causal) {
                    share = 0;
                    for (std::int64_t t = 0; t < Tq; ++t)
                        share += double{c.estimate.row(h, t)[m]} / static_cast<double>(Tq);
                }
                const double weight = r.kept.data()[row * W + m]
                                          ? std::exp(scale * naive_dot(naive_row(c.k.view(), g, Hkv, j).data(), query))
                                          : 0;
                sum += weight;
                for (std::int64_t e = 0; e < Dv; ++e) {
                    sparse.data()[e] += weight * double{c.v.row(g, j)[e]};
                    average.data()[e] += share * double{c.v.row(g, j)[e]};
                }
            }
            r.lse.data()[row] = std::log(sum);
            const double gate = naive_sigmoid(double{c.mix_gate.row(h, i)[0]}),
                         row_scale = c.scaled ? naive_sigmoid(double{c.row_scale.row(h, i)[0]}) : 1;
            for (std::int64_t e = 0; e < Dv; ++e)
                r.o.data()[row * Dv + e] =
                    (sum > 0 ? gate * row_scale * sparse.data()[e] / sum : 0) + (1 - gate) * average.data()[e];
        }
    return r;
}

struct SeaOutput {
    Tensor<float> o;
    std::vector<float> lse;
    std::vector<std::int64_t> kept;
};

SeaOutput run(const Sea& c, Context& context) {
    const SeaShape& s = c.shape;
    SeaOutput r{Tensor<float>(s.Hq, s.Tq, s.Dv), std::vector<float>(static_cast<std::size_t>(s.Hq * s.Tq)),
                std::vector<std::int64_t>(static_cast<std::size_t>(s.Hq * s.Tq * s.W))};
    attenta::SeaOutputs out;
    out.o = r.o.view();
    out.lse = r.lse.data();
    out.kept = r.kept.data();
    attenta::sea(c.inputs(), out, c.options, context);
    return r;
}

std::vector<Sea> cases() {
    std::vector<Sea> all;
    std::uint64_t seed = 1;
    for (const SeaShape& s : {SeaShape{1, 1, 1, 1, 8, 8, 1},
                              {2, 2, 33, 33, 8, 10, 12},
                              {4, 2, 29, 29, 9, 5, 11},
                              {3, 1, 13, 13, 16, 7, 32},
                              {2, 1, 70, 70, 24, 33, 7}})
        for (const SeaGroup group : {SeaGroup::query, SeaGroup::causal_batch, SeaGroup::head, SeaGroup::batch})
            for (const std::int64_t k : {1, 5, 100}) {
                all.push_back(Sea(s, {.causal = false, .group = group, .k = k}, ++seed));
                all.back().scaled = seed % 2 != 0;
                if (group == SeaGroup::causal_batch)
                    all.push_back(Sea(s, {.k = k, .scale = 0.7f}, ++seed, Order::token_head));
            }
    for (const std::int64_t Tq : {1, 3, 20}) all.push_back(Sea({4, 2, Tq, 90, 16, 9, 16}, {.k = 9}, ++seed));
    all.push_back(Sea({2, 2, 9, 40, 8, 8, 200}, {.k = 4}, ++seed));
    Sea ties({2, 1, 30, 30, 8, 8, 10}, {.causal = false, .group = SeaGroup::batch, .k = 6}, ++seed);
    ties.estimate.each_row([](float* row, std::int64_t, std::int64_t) {
        for (std::int64_t m = 0; m < 10; ++m) row[m] = std::round(row[m]);
    });
    all.push_back(std::move(ties));
    return all;
}

TEST(Sea, EqualsItsDefinition) {
    for (const Sea& c : cases()) {
        const SeaResult want = naive_sea(c);
        on_every_isa([&](Context& context) {
            const SeaOutput got = run(c, context);
            EXPECT_EQ(got.kept, want.kept);
            got.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
                const double* const o = want.o.data() + (h * c.shape.Tq + t) * c.shape.Dv;
                for (std::int64_t e = 0; e < c.shape.Dv; ++e)
                    ASSERT_NEAR(double{row[e]}, o[e], 2e-5 + 2e-4 * std::abs(o[e]));
            });
            for (std::size_t n = 0; n < want.lse.size(); ++n)
                if (std::isinf(want.lse[n]))
                    EXPECT_EQ(double{got.lse[n]}, want.lse[n]);
                else
                    EXPECT_NEAR(double{got.lse[n]}, want.lse[n], 1e-4);
        });
    }
}

TEST(Sea, AnyNumberOfThreadsGivesTheSameBits) {
    attenta::ThreadPool two(2);
    for (const Sea& c : cases()) {
        Context serial, parallel(two);
        const SeaOutput one = run(c, serial), other = run(c, parallel);
        EXPECT_EQ(rows_of(one.o), rows_of(other.o));
        EXPECT_EQ(one.lse, other.lse);
    }
}

TEST(SeaErrors, ShapesAndOptions) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil) {
        Sea c({4, 2, 9, 9, 8, 6, 5}, {}, 3);
        attenta::SeaInputs x = c.inputs();
        spoil(x, c.options);
        Tensor<float> o(4, 9, 6);
        const std::vector<float> before = o.memory();
        attenta::SeaOutputs out;
        out.o = o.view();
        const auto result = refuses([&] { attenta::sea(x, out, c.options); }, words);
        EXPECT_EQ(o.memory().size(), before.size());
        return result;
    };
    using X = attenta::SeaInputs;
    using O = attenta::SeaOptions;
    EXPECT_TRUE(refused({"sea", "k", "0", "1"}, [](X&, O& o) { o.k = 0; }));
    EXPECT_TRUE(refused({"sea", "estimate", "0"}, [](X& x, O&) { x.estimate.dim = 0; }));
    EXPECT_TRUE(refused({"sea", "estimate", "3", "4"}, [](X& x, O&) { x.estimate.heads = 3; }));
    EXPECT_TRUE(refused({"sea", "mix_gate", "8", "9"}, [](X& x, O&) { x.mix_gate.tokens = 8; }));
    EXPECT_TRUE(refused({"sea", "mix_gate", "null"}, [](X& x, O&) { x.mix_gate.data = nullptr; }));
    EXPECT_TRUE(refused({"sea", "batch", "causal"}, [](X&, O& o) { o.group = SeaGroup::batch; }));
    EXPECT_TRUE(refused({"sea", "8", "9"}, [](X& x, O& o) {
        o.causal = false;
        x.q.tokens = x.estimate.tokens = x.mix_gate.tokens = x.row_scale.tokens = 8;
    }));
    EXPECT_TRUE(refused({"sea", "estimate"}, [](X& x, O& o) {
        o.check_data = true;
        *const_cast<float*>(x.estimate.row(1, 2)) = std::numeric_limits<float>::quiet_NaN();
    }));
}

}  // namespace
}  // namespace attenta_test
