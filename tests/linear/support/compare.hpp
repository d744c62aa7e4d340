// What a linear attention gave, against its definition or against another call.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>
#include <string>

#include "mechanism.hpp"
#include "support/isas.hpp"

namespace attenta_test {

struct LinearOutput {
    Tensor<float> o;
    LinearState state;
};

/// One call on some views.
inline LinearOutput attend(const LinearCase& c, const LinearViews& views, const LinearOptions& options,
                           std::int64_t queries, LinearState state, Context& context) {
    LinearOutput out{Tensor<float>(c.output_heads(), queries, c.shape.Dv, c.order, c.pad), std::move(state)};
    call(c, views, options, out.o.view(), out.state, context);
    return out;
}

inline LinearOutput attend(const LinearCase& c, Context& context) {
    return attend(c, c.views(), c.options, c.queries(), c.past, context);
}

/// Tokens begin .. begin + count - 1, after `state`.
inline LinearOutput attend(const LinearCase& c, std::int64_t begin, std::int64_t count, LinearState state,
                           Context& context) {
    return attend(c, c.views(begin, count), options_at(c, begin), count, std::move(state), context);
}

/// Collects numbers that differ; the first one is told.
class Differences {
public:
    /// A row against its definition: rounding is measured by the largest number of the row, or 1.
    void row(const char* what, std::int64_t head, std::int64_t t, const float* got, const double* want,
             std::int64_t n) {
        double scale = 1;
        for (std::int64_t i = 0; i < n; ++i) scale = std::max(scale, std::abs(want[i]));
        for (std::int64_t i = 0; i < n; ++i) {
            const double allowed = 2e-5 * scale + 2e-4 * std::abs(want[i]);
            const double gap = std::abs(double{got[i]} - want[i]);
            if (gap <= allowed) continue;
            if (wrong_++ == 0)
                first_ << what << " of head " << head << " row " << t << " channel " << i << " is " << got[i]
                       << ", expected " << want[i] << ", the row's largest is " << scale;
            worst_ = std::max(worst_, std::isnan(gap) ? std::numeric_limits<double>::infinity() : gap / allowed);
        }
    }

    void size(const char* what, std::size_t got, std::size_t want) {
        if (got != want && wrong_++ == 0) first_ << what << " has " << got << " numbers, expected " << want;
    }

    testing::AssertionResult result() const {
        if (wrong_ == 0) return testing::AssertionSuccess();
        return testing::AssertionFailure()
               << wrong_ << " differ, the worst by " << worst_ << " tolerances, first: " << first_.str();
    }

private:
    std::int64_t wrong_ = 0;
    double worst_ = 0;
    std::ostringstream first_;
};

inline testing::AssertionResult close(const LinearOutput& got, const NaiveLinear& want) {
    Differences d;
    got.o.each_row(
        [&](float* row, std::int64_t h, std::int64_t t) { d.row("o", h, t, row, want.o_row(h, t), want.dim_v); });
    const LinearState& s = got.state;
    const auto array = [&](const char* what, const std::vector<float>& g, const std::vector<double>& w,
                           std::int64_t rows, std::int64_t n) {
        d.size(what, g.size(), w.size());
        if (g.size() != w.size()) return;
        for (std::int64_t i = 0; n > 0 && i * n < static_cast<std::int64_t>(g.size()); ++i)
            d.row(what, i / rows, i % rows, g.data() + i * n, w.data() + i * n, n);
    };
    d.size("heads of the state", static_cast<std::size_t>(s.heads), static_cast<std::size_t>(want.state_heads));
    d.size("dim of the state", static_cast<std::size_t>(s.dim), static_cast<std::size_t>(want.dim));
    d.size("dim_v of the state", static_cast<std::size_t>(s.dim_v), static_cast<std::size_t>(want.dim_v));
    array("matrix", s.matrix, want.matrix, want.dim, want.dim_v);
    array("normalizer", s.normalizer, want.normalizer, 1, want.dim);
    array("weight", s.weight, want.weight, 1, 1);
    array("key_max", s.key_max, want.key_max, 1, 1);
    if (!got.o.padding_is_untouched()) return testing::AssertionFailure() << "wrote between the rows of o";
    return d.result();
}

inline bool equal_bits(const float* a, const float* b, std::int64_t n) {
    return n == 0 || std::memcmp(a, b, static_cast<std::size_t>(n) * sizeof(float)) == 0;  // of nothing may be null
}

inline bool equal_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && equal_bits(a.data(), b.data(), static_cast<std::int64_t>(a.size()));
}

inline testing::AssertionResult equal_bits(const LinearState& a, const LinearState& b) {
    if (a.heads != b.heads || a.dim != b.dim || a.dim_v != b.dim_v)
        return testing::AssertionFailure() << "the states have different shapes";
    const char* what = !equal_bits(a.matrix, b.matrix)           ? "matrix"
                       : !equal_bits(a.normalizer, b.normalizer) ? "normalizer"
                       : !equal_bits(a.weight, b.weight)         ? "weight"
                       : !equal_bits(a.key_max, b.key_max)       ? "key_max"
                                                                 : nullptr;
    if (!what) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "the states differ in " << what;
}

/// Rows of o to the bit, then the state.
inline testing::AssertionResult equal_bits(const LinearOutput& a, const LinearOutput& b) {
    std::int64_t wrong = 0;
    std::ostringstream first;
    a.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
        if (!equal_bits(row, b.o.row(h, t), a.o.view().dim) && wrong++ == 0)
            first << "head " << h << " token " << t << ": o[0] " << row[0] << " and " << b.o.row(h, t)[0];
    });
    if (wrong == 0) return equal_bits(a.state, b.state);
    return testing::AssertionFailure() << wrong << " rows differ, first: " << first.str();
}

/// The largest difference of numbers that are the same up to rounding, relative to the largest of them or 1; infinite
/// where one is NaN.
inline double distance(const std::vector<float>& a, const std::vector<float>& b) {
    if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
    double gap = 0, scale = 1;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double d = std::abs(double{a[i]} - double{b[i]});
        gap = std::isnan(d) ? std::numeric_limits<double>::infinity() : std::max(gap, d);
        scale = std::max(scale, std::abs(double{b[i]}));
    }
    return gap / scale;
}

inline double distance(const LinearState& a, const LinearState& b) {
    return std::max({distance(a.matrix, b.matrix), distance(a.normalizer, b.normalizer), distance(a.weight, b.weight),
                     distance(a.key_max, b.key_max)});
}

/// All rows of o behind each other.
inline std::vector<float> rows_of(const Tensor<float>& x) {
    std::vector<float> rows;
    x.each_row([&](float* row, std::int64_t, std::int64_t) { rows.insert(rows.end(), row, row + x.view().dim); });
    return rows;
}

/// All cases on every instruction set.
inline void expect_definition(const std::vector<LinearCase>& cases) {
    std::vector<NaiveLinear> want;
    for (const LinearCase& c : cases) want.push_back(naive(c));
    on_every_isa([&](Context& context) {
        for (std::size_t i = 0; i < cases.size(); ++i)
            EXPECT_TRUE(close(attend(cases[i], context), want[i])) << describe(cases[i]);
    });
}

}  // namespace attenta_test
