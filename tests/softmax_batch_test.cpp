// Batches of sequences of any lengths: each sequence gives what it gives alone.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "support/isas.hpp"
#include "support/paged.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using attenta::Context;
using attenta::KvView;

/// Sequences of one batch, their queries behind each other.
struct Batch {
    std::vector<Case> cases;
    std::vector<std::int32_t> q_lengths;
    Tensor<float> q;

    Batch(const std::vector<std::pair<std::int64_t, std::int64_t>>& lengths) {
        for (const auto& [queries, keys] : lengths) {
            cases.emplace_back(Shape{6, 2, queries, keys, 33, 24}, static_cast<std::uint64_t>(keys));
            q_lengths.push_back(static_cast<std::int32_t>(queries));
        }
        q = Tensor<float>(6, std::accumulate(q_lengths.begin(), q_lengths.end(), 0), 33, Order::token_head);
        std::int64_t at = 0;
        for (const Case& c : cases) {
            c.q.each_row([&](float* row, std::int64_t h, std::int64_t t) { std::copy_n(row, 33, q.row(h, at + t)); });
            at += c.shape.Tq;
        }
    }

    std::vector<Sequence> keys() const {
        std::vector<Sequence> s;
        for (const Case& c : cases) s.push_back({c.k.view(), c.v.view()});
        return s;
    }

    Output attend(const KvView& kv, const attenta::SoftmaxOptions& options, Context& context) const {
        Output out(6, q.view().tokens, 24, Order::token_head);
        attenta::softmax_attention(q.view(), q_lengths, kv, out.o.view(), options, out.lse.data(), context);
        return out;
    }
};

Batch mixed_batch() {
    return Batch({{1, 300}, {37, 61}, {1, 5000}, {5, 5}, {0, 20}, {70, 170}, {3, 0}, {1, 1}, {4, 2100}, {1, 300}});
}

template <class T>
void expect_batch_mates_do_not_matter() {
    Batch batch = mixed_batch();
    for (Case& c : batch.cases) {
        c.k = converted<float>(converted<T>(c.k.view()).view());
        c.v = converted<float>(converted<T>(c.v.view()).view());
    }
    const PagedPool<T> pool(batch.keys(), 16, PageLayout::token_head);
    attenta::SoftmaxOptions options;
    options.causal = true, options.softcap = 20;
    on_every_isa([&](Context& context) {
        const Output together = batch.attend(pool.view(), options, context);
        std::int64_t at = 0;
        for (Case& c : batch.cases) {
            c.options = options;
            const Tensor<T> k = converted<T>(c.k.view()), v = converted<T>(c.v.view());
            const Output alone = attend(c, KvView::of(k.view(), v.view()), context);
            alone.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
                EXPECT_TRUE(same_bits(row, together.o.row(h, at + t), 24))
                    << c.shape << ", head " << h << ", token " << t;
                EXPECT_EQ(alone.lse_at(h, t), together.lse_at(h, at + t)) << c.shape;
            });
            at += c.shape.Tq;
        }
    });
}

TEST(SoftmaxBatch, MatesDoNotMatterToTheBit) {
    expect_batch_mates_do_not_matter<float>();
    expect_batch_mates_do_not_matter<attenta::bfloat16>();
}

TEST(SoftmaxBatch, EqualsTheDefinition) {
    Batch batch = mixed_batch();
    const PagedPool<float> pool(batch.keys(), 5, PageLayout::head_token);
    attenta::SoftmaxOptions options;
    options.causal = true, options.window_left = 400, options.prefix = 3;
    const std::vector<float> slopes = attenta::alibi_slopes(6), sink = Random(8).normals(6);
    options.alibi_slopes = slopes, options.sink = sink;
    on_every_isa([&](Context& context) {
        const Output together = batch.attend(pool.view(), options, context);
        std::int64_t at = 0;
        for (Case& c : batch.cases) {
            c.options = options;
            const Naive want = naive(c);
            const Tolerance tolerance;
            c.q.each_row([&](float*, std::int64_t h, std::int64_t t) {
                for (std::int64_t i = 0; i < 24; ++i)
                    ASSERT_TRUE(tolerance.holds(double{together.o.row(h, at + t)[i]}, want.o_row(h, t)[i])) << c.shape;
                ASSERT_TRUE(tolerance.holds(double{together.lse_at(h, at + t)}, want.lse.data()[h * c.shape.Tq + t]))
                    << c.shape;
            });
            at += c.shape.Tq;
        }
    });
}

TEST(SoftmaxBatch, NanStaysInItsSequence) {
    Batch batch = mixed_batch();
    const PagedPool<float> clean(batch.keys(), 16, PageLayout::head_token);
    batch.cases[1].k.row(0, 5)[0] = std::nanf("");
    batch.cases[1].v.row(1, 7)[0] = std::nanf("");
    const PagedPool<float> spoiled(batch.keys(), 16, PageLayout::head_token);
    on_every_isa([&](Context& context) {
        const Output before = batch.attend(clean.view(), {}, context),
                     after = batch.attend(spoiled.view(), {}, context);
        after.o.each_row([&](float*, std::int64_t h, std::int64_t t) {
            const bool of_second = t >= 1 && t < 38;
            EXPECT_TRUE(of_second || same_row(before, after, h, t)) << "head " << h << ", token " << t;
        });
    });
}

}  // namespace
}  // namespace attenta_test
