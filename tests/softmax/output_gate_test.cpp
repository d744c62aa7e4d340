// Outputs times the sigmoid of a gate: what follows a softmax layer of the hybrids, in the same call.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using attenta::Context;
using attenta::KvView;

std::vector<Shape> shapes() {
    std::vector<Shape> all = awkward_shapes();
    for (const Shape& shape : one_shape_of_each_regime()) all.push_back(shape);
    return all;
}

/// Of numbers that are large, small and in between.
Tensor<float> gates(const Shape& s, std::int64_t dim, Order order = Order::token_head) {
    Random random(9);
    return random_tensor(random, s.Hq, s.Tq, dim, order, 3, 8);
}

/// The output without a gate, times its sigmoid; lse as it was.
void expect_gated(const Output& plain, const Output& gated, attenta::Heads<const float> gate, const std::string& what) {
    EXPECT_TRUE(plain.lse == gated.lse) << what;
    plain.o.each_row([&](const float* row, std::int64_t h, std::int64_t t) {
        const attenta::Heads<const float> o = plain.o.view();
        for (std::int64_t d = 0; d < o.dim; ++d) {
            const double want = row[d] / (1 + std::exp(-static_cast<double>(gate.row(h, t)[gate.dim == 1 ? 0 : d])));
            ASSERT_NEAR(gated.o.row(h, t)[d], want, 2e-6 * std::abs(want)) << what << ", head " << h << ", token " << t;
        }
    });
}

TEST(SoftmaxOutputGate, MultipliesFinishedOutputs) {
    for (const Shape& shape : shapes())
        for (const std::int64_t dim : {shape.Dv, std::int64_t{1}}) {
            Case c(shape);
            c.options.causal = true;
            const Tensor<float> gate = gates(shape, dim);
            for (const int threads : {1, 2}) {
                attenta::ThreadPool pool(threads);
                Context context(pool);
                for (const attenta::Isa isa : available_isas()) {
                    const IsaScope scope(isa);
                    c.options.output_gate = {};
                    const Output plain = attend(c, context);
                    c.options.output_gate = gate.view();
                    expect_gated(plain, attend(c, context), gate.view(), describe(c));
                }
            }
        }
}

TEST(SoftmaxOutputGate, OfRaggedBatchesListsAndSeveralCaches) {
    Case c({4, 2, 70, 300, 16, 24});
    const Tensor<float> gate = gates(c.shape, 24);
    const std::int32_t q_lengths[] = {1, 64, 5};
    const PagedPool<float> ragged({{c.k.view().slice(0, 100), c.v.view().slice(0, 100)},
                                   {c.k.view().slice(100, 150), c.v.view().slice(100, 150)},
                                   {c.k.view().slice(250, 50), c.v.view().slice(250, 50)}},
                                  16, PageLayout::token_head);
    attenta::KeyLists lists({.heads = 4, .queries = 70, .keys = 300});
    for (std::int64_t list = 0; list < 4 * 70; ++list) {
        lists.add(list % 7, 40 + 3 * (list % 11));
        lists.end_list();
    }
    const KvView kv = KvView::of(c.k.view(), c.v.view());
    std::vector<std::int32_t> positions(300);
    std::iota(positions.begin(), positions.end(), 0);
    on_every_isa([&](Context& context) {
        for (int kind = 0; kind < 3; ++kind) {
            Output out[2] = {Output(4, 70, 24), Output(4, 70, 24)};
            for (int gated = 0; gated < 2; ++gated) {
                attenta::SoftmaxOptions options;
                if (gated) options.output_gate = gate.view();
                if (kind == 1) options.lists = {&lists, 1};
                const attenta::Heads<float> o = out[gated].o.view();
                float* const lse = out[gated].lse.data();
                KvView views[2] = {KvView::of(c.k.view().slice(0, 170), c.v.view().slice(0, 170)),
                                   KvView::of(c.k.view().slice(170, 130), c.v.view().slice(170, 130))};
                views[1].positions = positions.data() + 170, views[1].positions_stride = 130;
                if (kind == 0)
                    attenta::softmax_attention(c.q.view(), q_lengths, ragged.view(), o, options, lse, context);
                if (kind == 1) attenta::softmax_attention(c.q.view(), kv, o, options, lse, context);
                if (kind == 2) attenta::softmax_attention(c.q.view(), views, o, options, lse, context);
            }
            expect_gated(out[0], out[1], gate.view(), "kind " + std::to_string(kind));
        }
    });
}

TEST(SoftmaxOutputGate, OfAPlanIsThatOfItsLayer) {
    Case c({6, 2, 1, 900, 33, 24});
    const Tensor<float> first = gates(c.shape, 24), second = random_tensor(c.random, 6, 1, 24, Order::token_head, 3);
    on_every_isa([&](Context& context) {
        const KvView kv = KvView::of(c.k.view(), c.v.view());
        c.options.output_gate = {};
        const Output plain = attend(c, context);
        c.options.output_gate = first.view();
        const attenta::SoftmaxPlan plan = attenta::plan_softmax(c.q.view(), {}, kv, c.options, context);
        for (const Tensor<float>* gate : {&first, &second}) {
            Output out(6, 1, 24);
            plan.run(c.q.view(), kv, out.o.view(), out.lse.data(), gate == &first ? nullptr : gate->view().data);
            expect_gated(plain, out, gate->view(), "plan");
        }
    });
}

TEST(SoftmaxOutputGate, ExtremesAndNaNStayInTheirElements) {
    constexpr float infinite = std::numeric_limits<float>::infinity();
    Case c({2, 1, 1, 5, 8, 9});
    Tensor<float> gate = gates(c.shape, 9);
    const float extremes[] = {infinite, -infinite, 1000, -1000, std::numeric_limits<float>::quiet_NaN()};
    for (int d = 0; d < 5; ++d) gate.row(1, 0)[d] = extremes[d];
    on_every_isa([&](Context& context) {
        c.options.output_gate = {};
        const Output plain = attend(c, context);
        c.options.output_gate = gate.view();
        const Output out = attend(c, context);
        const float *was = plain.o.row(1, 0), *is = out.o.row(1, 0);
        EXPECT_EQ(is[0], was[0]);
        EXPECT_EQ(is[1], 0);
        EXPECT_EQ(is[2], was[2]);
        EXPECT_NEAR(is[3], 0, 1e-30);
        EXPECT_TRUE(std::isnan(is[4]));
        for (int d = 5; d < 9; ++d) EXPECT_FALSE(std::isnan(is[d]));
    });
}

TEST(SoftmaxOutputGate, RefusesWhatDoesNotFit) {
    Case c({4, 2, 3, 5, 8, 9});
    const Tensor<float> right = gates(c.shape, 9), narrow = gates(c.shape, 8),
                        of_key_heads = gates({2, 2, 3, 5, 8, 9}, 9);
    Context context;
    Output out(4, 3, 9);
    const auto call = [&](attenta::Heads<const float> gate) {
        c.options.output_gate = gate;
        attenta::softmax_attention(c.q.view(), KvView::of(c.k.view(), c.v.view()), out.o.view(), c.options);
    };
    EXPECT_TRUE(
        refuses([&] { call(narrow.view()); }, {"softmax_attention", "output_gate", "[4, 3, 8]", "[4, 3, 9 or 1]"}));
    EXPECT_TRUE(refuses([&] { call(of_key_heads.view()); }, {"output_gate", "[2, 3, 9]"}));
    EXPECT_TRUE(refuses([&] { call(right.view().slice(0, 2)); }, {"output_gate", "[4, 2, 9]"}));
    attenta::Heads<const float> odd = right.view();
    odd.data = nullptr;
    EXPECT_TRUE(refuses([&] { call(odd); }, {"output_gate", "null"}));
    odd = right.view();
    odd.token_stride = -1;
    EXPECT_TRUE(refuses([&] { call(odd); }, {"output_gate", "strides"}));
    EXPECT_TRUE(refuses([&] { call(out.o.view()); }, {"softmax_attention", "output_gate"}));  // o itself
    c.options.output_gate = {};
    const KvView kv = KvView::of(c.k.view(), c.v.view());
    const attenta::SoftmaxPlan plan = attenta::plan_softmax(c.q.view(), {}, kv, c.options, context);
    EXPECT_TRUE(refuses([&] { plan.run(c.q.view(), kv, out.o.view(), nullptr, right.view().data); },
                        {"SoftmaxPlan", "run", "output_gate"}));
    c.options.output_gate = right.view();
    std::vector<attenta::RowStatistics> rows(12);
    EXPECT_TRUE(refuses(
        [&] {
            attenta::softmax_statistics(c.q.view(), KvView::of(c.k.view(), c.v.view()), rows.data(), c.options,
                                        context);
        },
        {"softmax_statistics", "output_gate"}));
}

}  // namespace
}  // namespace attenta_test
