// Unchecked NaN and infinity stay in the rows that see them, and are not hidden there.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/isas.hpp"
#include "support/softmax_case.hpp"

namespace attenta_test {
namespace {

using attenta::Context;

constexpr float infinity = std::numeric_limits<float>::infinity();

/// Visibility of every kind, for the tests of NaN.
std::vector<OptionSetter> visibilities() {
    std::vector<OptionSetter> chosen = {{"all", [](Case&) {}}};
    for (const OptionSetter& setter : option_setters())
        for (const char* wanted :
             {"causal", "causal prefix 11", "window 5, 140", "window_left 19", "segments", "mask", "own mask", "sink",
              "bias of heads, -inf", "bias of rows, short, f16", "bias, one row of heads, bf16"})
            if (std::string(wanted) == setter.name) chosen.push_back(setter);
    return chosen;
}

bool sees(const Case& c, std::int64_t head, std::int64_t query, std::int64_t key) {
    const std::int64_t i = query + c.options.q_offset.value_or(c.shape.Tk - c.shape.Tq);
    const Pair pair{head, query, key, i, key};
    return naive_visible(pair, c.options, c.extras) &&
           (!c.options.bias || naive_bias(c.options.bias, pair) > -infinity);
}

bool all_nan(const float* row, std::int64_t n) {
    return std::all_of(row, row + n, [](float x) { return std::isnan(x); });
}

TEST(SoftmaxNan, InAQueryStaysInItsRow) {
    for (const Shape& shape : one_shape_of_each_regime())
        for (const OptionSetter& visibility : visibilities()) {
            Case c(shape), clean(shape);
            apply(visibility, c), apply(visibility, clean);
            const std::int64_t head = shape.Hq / 2, token = shape.Tq / 2;
            c.q.row(head, token)[shape.D - 1] = std::nanf("");
            on_every_isa([&](Context& context) {
                const Output before = attend(clean, context), after = attend(c, context);
                after.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
                    if (h == head && t == token)
                        EXPECT_TRUE(all_nan(row, shape.Dv)) << describe(c);
                    else
                        EXPECT_TRUE(same_row(before, after, h, t)) << describe(c) << ", head " << h << ", token " << t;
                });
            });
        }
}

/// K and V of a case in a storage type.
struct Stored {
    attenta::KvCache cache;

    Stored(const Case& c, attenta::Dtype storage)
        : cache({.kv_heads = c.shape.Hkv,
                 .dim = c.shape.D,
                 .dim_v = c.shape.Dv,
                 .capacity = c.shape.Tk,
                 .storage = storage}) {
        cache.append(0, c.k.view(), c.v.view());
    }
};

struct Damage {
    bool value;  ///< of a value, else of a key
    float number;
    attenta::Dtype storage;
};

/// Spoils key or value row j of head 0: rows that do not see it keep their bits, rows that do show it.
void expect_damage_stays(const Shape& shape, const OptionSetter& visibility, std::int64_t j, const Damage& damage) {
    Case c(shape), clean(shape);
    apply(visibility, c), apply(visibility, clean);
    c.words += ", key " + std::to_string(j) + ", " + name(damage.storage);
    const std::int64_t channel = (damage.value ? shape.Dv : shape.D) / 2;
    (damage.value ? c.v : c.k).row(0, j)[channel] = damage.number;
    const Stored spoiled_kv(c, damage.storage), clean_kv(clean, damage.storage);
    on_every_isa([&](Context& context) {
        const Output before = attend(clean, clean_kv.cache.view(0), context);
        const Output after = attend(c, spoiled_kv.cache.view(0), context);
        after.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
            if (h >= shape.Hq / shape.Hkv || !sees(c, h, t, j))
                EXPECT_TRUE(same_row(before, after, h, t)) << describe(c) << ", head " << h << ", token " << t;
            else if (damage.value)
                EXPECT_FALSE(std::isfinite(row[channel])) << describe(c) << ", head " << h << ", token " << t;
            else
                EXPECT_TRUE(all_nan(row, shape.Dv)) << describe(c) << ", head " << h << ", token " << t;
        });
    });
}

void expect_damage_stays_everywhere(bool value, float number) {
    for (const Shape& shape : one_shape_of_each_regime())
        for (const OptionSetter& visibility : visibilities())
            for (const std::int64_t j : {std::int64_t{0}, shape.Tk / 2, shape.Tk - 1})
                for (const attenta::Dtype storage : {attenta::Dtype::f32, attenta::Dtype::bf16})
                    expect_damage_stays(shape, visibility, j, {value, number, storage});
}

TEST(SoftmaxNan, InAKeyStaysInTheRowsThatSeeIt) { expect_damage_stays_everywhere(false, std::nanf("")); }

TEST(SoftmaxNan, InAValueStaysInTheRowsThatSeeIt) { expect_damage_stays_everywhere(true, std::nanf("")); }

/// Scores of inf, -inf and NaN under a bias of -inf throughout.
TEST(SoftmaxNan, ABiasOfMinusInfinityHidesWhateverTheScoreIs) {
    for (const Shape& shape : one_shape_of_each_regime())
        for (const float number : {infinity, -infinity, std::nanf("")}) {
            Case c(shape);
            set_bias(c, 1, 1.0);
            c.k.each_row([&](float* row, std::int64_t, std::int64_t) { std::fill_n(row, shape.D, number); });
            c.v.each_row([&](float* row, std::int64_t, std::int64_t) { std::fill_n(row, shape.Dv, number); });
            on_every_isa([&](Context& context) {
                const Output out = attend(c, context);
                out.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
                    for (std::int64_t i = 0; i < shape.Dv; ++i) ASSERT_EQ(row[i], 0.0f) << describe(c) << number;
                    ASSERT_EQ(out.lse_at(h, t), -infinity) << describe(c) << number;
                });
            });
        }
}

TEST(SoftmaxNan, InfinityInAValueStaysInTheRowsThatSeeIt) {
    expect_damage_stays_everywhere(true, std::numeric_limits<float>::infinity());
}

/// More keys and values than a cache holds are read in another order.
TEST(SoftmaxNan, StaysInItsRowsWhenKeysAndValuesComeFromMemory) {
    const Shape shape = {4, 2, 2, 36003, 32, 31};
    for (const OptionSetter& visibility : visibilities())
        if (visibility.name == std::string("causal") || visibility.name == std::string("mask"))
            for (const std::int64_t j : {shape.Tk / 2, shape.Tk - 1})
                for (const bool value : {false, true})
                    expect_damage_stays(shape, visibility, j, {value, std::nanf(""), attenta::Dtype::f32});
}

}  // namespace
}  // namespace attenta_test
