// softmax_attention equals its definition (support/naive_softmax.hpp) for every shape and every option.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "support/isas.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using attenta::Context;

constexpr float infinity = std::numeric_limits<float>::infinity();

void expect_definition(const Case& c, Tolerance tolerance = {}) {
    const Naive want = naive(c);
    on_every_isa([&](Context& context) { EXPECT_TRUE(close(attend(c, context), want, tolerance)) << describe(c); });
}

TEST(Softmax, EqualsTheDefinitionOnAwkwardShapes) {
    for (const Shape& shape : awkward_shapes()) expect_definition(Case(shape));
}

TEST(Softmax, EqualsTheDefinitionOnAwkwardShapesCausal) {
    for (const Shape& shape : awkward_shapes()) {
        Case c(shape, 2);
        c.options.causal = true;
        expect_definition(c);
    }
}

/// From one row to many, from one key to many: every regime, and splits of long rows.
TEST(Softmax, EqualsTheDefinitionForFewAndManyRowsAndKeys) {
    const Shape rows[] = {{1, 1, 1}, {8, 2, 1},  {8, 1, 1},  {4, 2, 3},  {3, 1, 5},  {16, 1, 1},
                          {8, 1, 8}, {5, 1, 13}, {8, 1, 25}, {1, 1, 70}, {1, 1, 201}};
    for (const std::int64_t keys : {1, 2, 15, 16, 17, 127, 128, 129, 300, 1000, 2500, 5000})
        for (Shape shape : rows) {
            shape.Tk = keys, shape.D = 24, shape.Dv = 33;
            Case c(shape, static_cast<std::uint64_t>(keys));
            c.options.causal = (keys + shape.Tq) % 2 == 0;
            expect_definition(c);
        }
}

/// Few rows against more keys and values than a cache holds take them from several places in turn, edited or not.
TEST(Softmax, EqualsTheDefinitionForKeysAndValuesFromMemory) {
    const Shape rows[] = {{2, 2, 1}, {4, 2, 1}, {4, 2, 2}, {4, 2, 3}, {4, 2, 4}, {4, 2, 7}, {4, 2, 20}};
    for (Shape shape : rows)
        for (const std::string option : {"", "softcap 2.5", "mask", "segments"}) {
            shape.Tk = 36003, shape.D = 32, shape.Dv = 31;
            Case c(shape, static_cast<std::uint64_t>(shape.Tq));
            c.options.causal = true;
            for (const OptionSetter& setter : option_setters())
                if (setter.name == option) apply(setter, c);
            expect_definition(c);
        }
}

TEST(Softmax, EqualsTheDefinitionForSquareCausal) {
    Case c({4, 2, 700, 700, 48, 64});
    c.options.causal = true;
    expect_definition(c);
    c.options.window_left = 200;
    expect_definition(c);
}

/// Unit variance: float32 arithmetic alone should not lose more than this.
TEST(Softmax, LosesNoMoreThanFloatArithmeticDoes) {
    for (const std::int64_t keys : {48, 4096})
        for (const std::int64_t queries : {1, 5, 64}) {
            const Case c({4, 2, queries, keys, 128, 128});
            float largest = 0;
            c.v.each_row([&](float* row, std::int64_t, std::int64_t) {
                for (std::int64_t i = 0; i < c.shape.Dv; ++i) largest = std::max(largest, std::abs(row[i]));
            });
            expect_definition(c, {2e-6 * double{largest}, 0});
        }
}

TEST(Softmax, EqualsTheDefinitionForEachOptionAlone) {
    for (const OptionSetter& setter : option_setters())
        for (const Shape& shape : one_shape_of_each_regime()) {
            Case c(shape);
            apply(setter, c);
            expect_definition(c);
        }
}

TEST(Softmax, EqualsTheDefinitionForRandomOptions) {
    for (std::uint64_t seed = 0; seed < 400 && !testing::Test::HasFailure(); ++seed)
        expect_definition(random_case(seed, 0.13));
}

TEST(Softmax, EqualsTheDefinitionForLongRowsWithRandomOptions) {
    for (std::uint64_t seed = 0; seed < 24; ++seed) {
        Case c({6, 2, static_cast<std::int64_t>(seed % 3) + 1, 2700, 16, 20}, seed);
        for (const OptionSetter& setter : option_setters())
            if (c.random.chance(0.12)) apply(setter, c);
        expect_definition(c);
    }
}

/// Scores so far apart that all but one weight vanish.
TEST(Softmax, EqualsTheDefinitionForSaturatedScores) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        Case c(shape, 3, 30);
        c.options.causal = true;
        expect_definition(c, {1e-3, 2e-4});
    }
}

/// Scores that rise along the keys, so that the running maximum moves in every block.
TEST(Softmax, FollowsAMaximumThatKeepsRising) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        Case c(shape);
        c.bias.resize(static_cast<std::size_t>(shape.Tq * shape.Tk));
        for (std::int64_t i = 0; i < shape.Tq * shape.Tk; ++i)
            c.bias.data()[i] = 0.5f * static_cast<float>(i % shape.Tk);
        c.options.bias = {c.bias.data(), 1, shape.Tq, shape.Tk};
        expect_definition(c, {5e-4, 2e-4});
    }
}

TEST(Softmax, ShiftedFarFromZeroDoesNotOverflow) {
    for (const float shift : {-3e4f, 3e4f}) {
        Case c({2, 1, 20, 150, 16, 16});
        c.bias.assign(static_cast<std::size_t>(c.shape.Tq * c.shape.Tk), shift);
        c.options.bias = {c.bias.data(), 1, c.shape.Tq, c.shape.Tk};
        expect_definition(c, {2e-2, 1e-4});  // a logit of 3e4 has steps of 2e-3
    }
}

TEST(Softmax, RowsWithoutKeysGiveZeroAndMinusInfinityOrTheSink) {
    for (const bool with_sink : {false, true})
        for (const Shape& shape : one_shape_of_each_regime()) {
            Case c(shape);
            set_mask(c, 1, 1.1, 1);
            if (with_sink) c.options.sink = c.sink = c.random.normals(shape.Hq);
            on_every_isa([&](Context& context) {
                const Output out = attend(c, context);
                out.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
                    for (std::int64_t i = 0; i < shape.Dv; ++i) ASSERT_EQ(row[i], 0.0f);
                    ASSERT_FLOAT_EQ(out.lse_at(h, t), with_sink ? c.sink.data()[h] : -infinity);
                });
            });
        }
}

TEST(Softmax, NoKeysAtAllGiveZeroAndMinusInfinityOrTheSink) {
    for (const std::int64_t queries : {1, 3, 70}) {
        Case c({4, 2, queries, 0, 16, 24});
        c.options.causal = true;
        expect_definition(c);
        c.options.sink = c.sink = c.random.normals(4);
        expect_definition(c);
        c.options.window_left = 3, c.options.softcap = 2;
        expect_definition(c);
    }
}

/// What other libraries call a local window of 0.
TEST(Softmax, AWindowOfNoKeysIsAPrefixOfNone) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        Case c(shape);
        c.options.visible = attenta::Global{0};
        c.extras.visible = [](const Pair&) { return false; };
        expect_definition(c);
    }
}

TEST(Softmax, PositionsAndWindowsReachFar) {
    const std::int64_t far = std::int64_t{1} << 62, most = std::numeric_limits<std::int64_t>::max();
    for (const Shape& shape : one_shape_of_each_regime())
        for (const std::int64_t offset : {-far, far - 1000, far})
            for (const std::int64_t left : {std::int64_t{-1}, far - 1000, most})
                for (const std::int64_t right : {std::int64_t{0}, far, most}) {
                    Case c(shape);
                    c.words = ", q_offset " + std::to_string(offset) + ", window " + std::to_string(left) + ", " +
                              std::to_string(right);
                    c.options.q_offset = offset, c.options.window_left = left, c.options.window_right = right;
                    expect_definition(c);
                }
}

TEST(Softmax, NoQueriesDoNothing) {
    const Case c({4, 2, 0, 30, 16, 24});
    on_every_isa([&](Context& context) { EXPECT_TRUE(attend(c, context).o.padding_is_untouched()); });
}

TEST(Softmax, LseIsOptional) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        const Case c(shape);
        on_every_isa([&](Context& context) {
            const Output with = attend(c, context);
            Output without(shape.Hq, shape.Tq, shape.Dv);
            attenta::softmax_attention(c.q.view(), c.k.view(), c.v.view(), without.o.view(), c.options, nullptr,
                                       context);
            without.lse = with.lse;
            EXPECT_TRUE(same_bits(with, without)) << shape;
        });
    }
}

/// A sink of 0 is one more key with score 0 and value 0.
TEST(Softmax, ASinkIsAKeyWithoutAValue) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        Case c(shape);
        Case more({shape.Hq, shape.Hkv, shape.Tq, shape.Tk + 1, shape.D, shape.Dv});
        more.q = converted<float>(c.q.view());
        const auto extended = [](float* row, const attenta::Heads<float>& x, std::int64_t h, std::int64_t t) {
            for (std::int64_t i = 0; i < x.dim; ++i) row[i] = t < x.tokens ? x.row(h, t)[i] : 0;
        };
        more.k.each_row([&](float* row, std::int64_t h, std::int64_t t) { extended(row, c.k.view(), h, t); });
        more.v.each_row([&](float* row, std::int64_t h, std::int64_t t) { extended(row, c.v.view(), h, t); });
        c.sink.assign(static_cast<std::size_t>(shape.Hq), 0);
        c.options.sink = c.sink;
        on_every_isa(
            [&](Context& context) { EXPECT_LE(distance(attend(c, context), attend(more, context)), 4e-6) << shape; });
    }
}

/// Windows, causality and prefixes said as options and as masks of one's own are the same.
TEST(Softmax, OptionsEqualTheMasksTheyStandFor) {
    for (const Shape& shape : one_shape_of_each_regime()) {
        Case options(shape), masks(shape);
        options.options.causal = true, options.options.prefix = 9, options.options.window_left = 30;
        masks.options.visible = (attenta::Causal{} || attenta::Global{9}) && attenta::Window{30, -1};
        on_every_isa([&](Context& context) {
            EXPECT_LE(distance(attend(options, context), attend(masks, context)), 4e-6) << shape;
        });
    }
}

TEST(Softmax, AlibiSlopesAreThoseOfThePaper) {
    EXPECT_EQ(attenta::alibi_slopes(8).front(), 0.5f);
    EXPECT_EQ(attenta::alibi_slopes(8).back(), 0x1p-8f);
    const std::vector<float> six = attenta::alibi_slopes(6);
    const double want[] = {0x1p-2, 0x1p-4, 0x1p-6, 0x1p-8, 0x1p-1, 0x1p-3};
    for (std::size_t h = 0; h < 6; ++h) EXPECT_FLOAT_EQ(six[h], static_cast<float>(want[h]));
}

}  // namespace
}  // namespace attenta_test
