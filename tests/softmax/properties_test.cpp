// What must hold for every kernel: the order of keys, causality, cuts, threads.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>
#include <cstdint>
#include <thread>
#include <vector>

#include "support/isas.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using attenta::Context;
using attenta::KvView;

constexpr double rounding = 1e-5;

TEST(SoftmaxProperties, TheOrderOfKeysDoesNotMatter) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        Case c(shape);
        const std::vector<std::int32_t> order = c.random.permutation(shape.Tk);
        const Tensor<float> k = reordered(c.k.view(), order), v = reordered(c.v.view(), order);
        on_every_isa([&](Context& context) {
            EXPECT_LE(distance(attend(c, context), attend(c, KvView::of(k.view(), v.view()), context)), rounding)
                << shape;
        });
    }
}

TEST(SoftmaxProperties, LaterKeysChangeNothingToTheBit) {
    for (const Shape& shape :
         {Shape{4, 2, 90, 90, 33, 40}, Shape{2, 2, 37, 200, 24, 16}, Shape{4, 1, 5, 300, 16, 16}}) {
        Case c(shape);
        c.options.causal = true;
        on_every_isa([&](Context& context) {
            const Output before = attend(c, context);
            const std::int64_t changed = shape.Tk - shape.Tq / 2 - 1;
            Case later(shape);
            later.options.causal = true;
            for (std::int64_t h = 0; h < shape.Hkv; ++h)
                later.k.row(h, changed)[0] = 1e4f, later.v.row(h, changed)[0] = -1e4f;
            const Output after = attend(later, context);
            after.o.each_row([&](float*, std::int64_t h, std::int64_t t) {
                const bool sees = t + shape.Tk - shape.Tq >= changed;
                EXPECT_TRUE(sees || same_row(before, after, h, t)) << shape << ", head " << h << ", token " << t;
            });
        });
    }
}

TEST(SoftmaxProperties, PrefillInChunksEqualsTheWhole) {
    Case c({6, 2, 150, 150, 33, 24});
    c.options.causal = true, c.options.window_left = 100;
    on_every_isa([&](Context& context) {
        const Output whole = attend(c, context);
        Output chunks(6, 150, 24);
        std::int64_t done = 0;
        for (const std::int64_t n : {1, 64, 3, 70, 11, 1}) {
            std::vector<float> lse(static_cast<std::size_t>(6 * n));
            attenta::softmax_attention(c.q.view().slice(done, n), c.k.view().slice(0, done + n),
                                       c.v.view().slice(0, done + n), chunks.o.view().slice(done, n), c.options,
                                       lse.data(), context);
            for (std::int64_t h = 0; h < 6; ++h) std::copy_n(lse.data() + h * n, n, chunks.lse.data() + h * 150 + done);
            done += n;
        }
        EXPECT_LE(distance(whole, chunks), rounding);
    });
}

TEST(SoftmaxProperties, PartsOfTheKeysMergeToTheWhole) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        Case c(shape);
        c.options.causal = true, c.options.window_left = 190;
        c.options.alibi_slopes = c.slopes = attenta::alibi_slopes(static_cast<int>(shape.Hq));
        c.options.sink = c.sink = c.random.normals(shape.Hq);
        on_every_isa([&](Context& context) {
            const Output whole = attend(c, context);
            // The sink is a part of its own: o = 0, lse = sink.
            const std::int64_t rows = shape.Hq * shape.Tq,
                               cuts[] = {0, shape.Tk / 7, shape.Tk / 7 + 1, shape.Tk / 2, shape.Tk};
            std::vector<float> o(static_cast<std::size_t>(5 * rows * shape.Dv)),
                lse(static_cast<std::size_t>(5 * rows));
            for (std::int64_t r = 0; r < rows; ++r) lse.data()[4 * rows + r] = c.sink.data()[r / shape.Tq];
            attenta::SoftmaxOptions options = c.options;
            options.sink = {};
            for (std::int64_t p = 0; p < 4; ++p) {
                const std::int64_t first = cuts[p], n = cuts[p + 1] - first;
                options.q_offset = shape.Tk - shape.Tq - first;
                attenta::softmax_attention(c.q.view(), c.k.view().slice(first, n), c.v.view().slice(first, n),
                                           attenta::hnd(o.data() + p * rows * shape.Dv, shape.Hq, shape.Tq, shape.Dv),
                                           options, lse.data() + p * rows, context);
            }
            Output merged(shape.Hq, shape.Tq, shape.Dv);
            attenta::merge_state(o.data(), lse.data(), 5, shape.Hq, shape.Tq, shape.Dv, o.data(), merged.lse.data(),
                                 context);
            merged.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
                std::copy_n(o.data() + (h * shape.Tq + t) * shape.Dv, shape.Dv, row);
            });
            EXPECT_LE(distance(whole, merged), rounding) << shape;
        });
    }
}

TEST(SoftmaxProperties, AnyNumberOfThreadsGivesTheSameBits) {
    std::vector<Shape> shapes = awkward_shapes();
    for (const Shape& shape : one_shape_of_each_regime()) shapes.push_back(shape);
    for (const attenta::Isa isa : available_isas()) {
        const IsaScope scope(isa);
        for (const Shape& shape : shapes) {
            Case c(shape);
            c.options.causal = true;
            Context serial;
            const Output want = attend(c, serial);
            for (const int threads : {2, 3}) {
                attenta::ThreadPool pool(threads);
                Context context(pool);
                EXPECT_TRUE(same_bits(attend(c, context), want))
                    << shape << ", " << name(isa) << ", threads " << threads;
            }
        }
    }
}

TEST(SoftmaxProperties, ThePoolOfAnEngineGivesTheSameBits) {
    attenta::ExecutorAdapter backwards(3, [](std::int64_t n, attenta::TaskRef fn) {
        for (std::int64_t task = n; task-- > 0;) fn(task, static_cast<int>(task % 3));
    });
    for (const Shape& shape : one_shape_of_each_regime()) {
        const Case c(shape);
        Context serial, adapted(backwards);
        EXPECT_TRUE(same_bits(attend(c, adapted), attend(c, serial))) << shape;
    }
}

TEST(SoftmaxProperties, CallsFromSeveralThreadsDoNotMeet) {
    std::vector<Case> cases;
    std::vector<Output> want, got;
    for (const Shape& shape : one_shape_of_each_regime()) {
        cases.emplace_back(shape);
        want.push_back(attend(cases.back(), attenta::default_context()));
        got.emplace_back(shape.Hq, shape.Tq, shape.Dv);
    }
    attenta::ThreadPool shared(2);
    const auto work = [&](std::size_t i) {
        attenta::ThreadPool own(2);
        Context on_own(own), on_shared(shared);
        for (Context* context : {&on_own, &on_shared, &attenta::default_context()})
            for (int repeat = 0; repeat < 3; ++repeat) got[i] = attend(cases[i], *context);
    };
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < cases.size(); ++i) threads.emplace_back(work, i);
    for (std::thread& t : threads) t.join();
    for (std::size_t i = 0; i < cases.size(); ++i) EXPECT_TRUE(same_bits(got[i], want[i])) << describe(cases[i]);
}

TEST(SoftmaxProperties, CallsLeaveTheFloatingPointModeAlone) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        const Case c(shape);
        on_every_isa([&](Context& context) { attend(c, context); });
        const volatile float smallest = FLT_MIN;
        EXPECT_GT(smallest / 2, 0.0f) << "subnormal numbers are flushed to zero after a call";
    }
}

}  // namespace
}  // namespace attenta_test
