// What a call gave, against the reference or against another call.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>
#include <vector>

#include "naive_softmax.hpp"
#include "tensor.hpp"

namespace attenta_test {

/// Room for the result of one call.
struct Output {
    Output(std::int64_t heads, std::int64_t tokens, std::int64_t dim, Order order = Order::head_token,
           std::int64_t pad = 0)
        : o(heads, tokens, dim, order, pad), lse(static_cast<std::size_t>(heads * tokens), untouched<float>()) {}

    float lse_at(std::int64_t head, std::int64_t token) const { return lse.data()[head * o.view().tokens + token]; }

    Tensor<float> o;
    std::vector<float> lse;
};

struct Tolerance {
    double absolute = 2e-5, relative = 2e-4;

    bool holds(double got, double want) const {
        return got == want || std::abs(got - want) <= absolute + relative * std::abs(want);  // == for the infinities
    }
};

inline testing::AssertionResult close(const Output& got, const Naive& want, Tolerance tolerance = {}) {
    std::ostringstream first;
    std::int64_t wrong = 0;
    const auto check = [&](double g, double w, const char* what, std::int64_t h, std::int64_t t, std::int64_t c) {
        if (!tolerance.holds(g, w) && wrong++ == 0)
            first << what << " of head " << h << " token " << t << " channel " << c << " is " << g << ", expected "
                  << w;
    };
    got.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
        for (std::int64_t c = 0; c < want.dim; ++c) check(double{row[c]}, want.o_row(h, t)[c], "o", h, t, c);
        if (want.lse.empty()) return;  // it has none
        check(double{got.lse_at(h, t)}, want.lse.data()[h * want.tokens + t], "lse", h, t, 0);
    });
    if (!got.o.padding_is_untouched()) return testing::AssertionFailure() << "wrote between the rows of o";
    if (wrong == 0) return testing::AssertionSuccess();
    return testing::AssertionFailure() << wrong << " numbers differ, first: " << first.str();
}

inline bool same_bits(const float* a, const float* b, std::int64_t n) {
    return std::memcmp(a, b, static_cast<std::size_t>(n) * sizeof(float)) == 0;
}

/// Row t of a and of b, to the bit.
inline bool same_row(const Output& a, const Output& b, std::int64_t head, std::int64_t t) {
    const float la = a.lse_at(head, t), lb = b.lse_at(head, t);
    return same_bits(a.o.row(head, t), b.o.row(head, t), a.o.view().dim) && same_bits(&la, &lb, 1);
}

inline testing::AssertionResult same_bits(const Output& a, const Output& b) {
    std::int64_t wrong = 0;
    std::ostringstream first;
    a.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
        if (!same_row(a, b, h, t) && wrong++ == 0)
            first << "head " << h << " token " << t << ": o[0] " << row[0] << " and " << b.o.row(h, t)[0] << ", lse "
                  << a.lse_at(h, t) << " and " << b.lse_at(h, t);
    });
    if (wrong == 0) return testing::AssertionSuccess();
    return testing::AssertionFailure() << wrong << " rows differ, first: " << first.str();
}

/// The largest difference of two results, for properties that hold up to rounding; infinite where one is NaN.
inline double distance(const Output& a, const Output& b) {
    double d = 0;
    const auto compare = [&](float x, float y) {
        const double gap = x == y ? 0 : std::abs(double{x} - double{y});
        d = std::isnan(gap) ? std::numeric_limits<double>::infinity() : std::max(d, gap);
    };
    a.o.each_row([&](float* row, std::int64_t h, std::int64_t t) {
        for (std::int64_t c = 0; c < a.o.view().dim; ++c) compare(row[c], b.o.row(h, t)[c]);
        compare(a.lse_at(h, t), b.lse_at(h, t));
    });
    return d;
}

}  // namespace attenta_test
