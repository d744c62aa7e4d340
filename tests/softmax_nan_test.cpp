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

/// Visibility of every kind, for the tests of NaN.
std::vector<OptionSetter> visibilities() {
    std::vector<OptionSetter> chosen = {{"all", [](Case&) {}}};
    for (const OptionSetter& setter : option_setters())
        for (const char* wanted :
             {"causal", "causal prefix 11", "window 5, 140", "window_left 19", "segments", "mask", "own mask", "sink"})
            if (std::string(wanted) == setter.name) chosen.push_back(setter);
    return chosen;
}

bool sees(const Case& c, std::int64_t head, std::int64_t query, std::int64_t key) {
    const std::int64_t i = query + c.options.q_offset.value_or(c.shape.Tk - c.shape.Tq);
    return naive_visible({head, query, key, i, key}, c.options, c.extras);
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

/// Spoils key or value row j of head 0: rows that do not see it keep their bits, rows that do show it.
void expect_damage_stays_in_its_rows(const Shape& shape, const OptionSetter& visibility, bool value, float damage) {
    for (const std::int64_t j : {std::int64_t{0}, shape.Tk / 2, shape.Tk - 1}) {
        Case c(shape), clean(shape);
        apply(visibility, c), apply(visibility, clean);
        const std::int64_t channel = (value ? shape.Dv : shape.D) / 2;
        (value ? c.v : c.k).row(0, j)[channel] = damage;
        c.words += ", key " + std::to_string(j);
        on_every_isa([&](Context& context) {
            const Output before = attend(clean, context), after = attend(c, context);
            after.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
                if (h >= shape.Hq / shape.Hkv || !sees(c, h, t, j))
                    EXPECT_TRUE(same_row(before, after, h, t)) << describe(c) << ", head " << h << ", token " << t;
                else if (value)
                    EXPECT_FALSE(std::isfinite(row[channel])) << describe(c) << ", head " << h << ", token " << t;
                else
                    EXPECT_TRUE(all_nan(row, shape.Dv)) << describe(c) << ", head " << h << ", token " << t;
            });
        });
    }
}

TEST(SoftmaxNan, InAKeyStaysInTheRowsThatSeeIt) {
    for (const Shape& shape : one_shape_of_each_regime())
        for (const OptionSetter& visibility : visibilities())
            expect_damage_stays_in_its_rows(shape, visibility, false, std::nanf(""));
}

TEST(SoftmaxNan, InAValueStaysInTheRowsThatSeeIt) {
    for (const Shape& shape : one_shape_of_each_regime())
        for (const OptionSetter& visibility : visibilities())
            expect_damage_stays_in_its_rows(shape, visibility, true, std::nanf(""));
}

TEST(SoftmaxNan, InfinityInAValueStaysInTheRowsThatSeeIt) {
    for (const Shape& shape : one_shape_of_each_regime())
        for (const OptionSetter& visibility : visibilities())
            expect_damage_stays_in_its_rows(shape, visibility, true, std::numeric_limits<float>::infinity());
}

}  // namespace
}  // namespace attenta_test
