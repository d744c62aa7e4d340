// Feature maps [C, H, W] of doubles for definitions, and calls against them.
#pragma once

#include <attenta/core/view.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "matrices.hpp"

namespace attenta_test {

/// A matrix [H, W] for each channel.
using Map = std::vector<Mat>;

inline Map map_of(const View& x) {
    Map map;
    for (std::int64_t c = 0; c < x.heads; ++c) map.emplace_back(x, c);
    return map;
}

inline double sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }
inline double relu(double x) { return x < 0 ? 0 : x; }

/// f(channel, row, column) for each number of a map.
template <class F>
Map make_map(std::int64_t channels, std::int64_t rows, std::int64_t columns, F&& f) {
    Map map(static_cast<std::size_t>(channels), Mat(rows, columns));
    for (std::int64_t c = 0; c < channels; ++c)
        for (std::int64_t r = 0; r < rows; ++r)
            for (std::int64_t x = 0; x < columns; ++x) map[static_cast<std::size_t>(c)](r, x) = f(c, r, x);
    return map;
}

/// A number of a map, 0 outside.
inline double at(const Map& map, std::int64_t c, std::int64_t r, std::int64_t x) {
    const Mat& m = map[static_cast<std::size_t>(c)];
    return r < 0 || r >= m.rows() || x < 0 || x >= m.cols() ? 0 : m(r, x);
}

/// w [O, C, n·n], zero outside.
inline Map convolved(const Map& map, const View& w) {
    const auto n = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(w.dim))));
    return make_map(w.heads, map[0].rows(), map[0].cols(), [&](std::int64_t o, std::int64_t r, std::int64_t x) {
        double sum = 0;
        for (std::int64_t c = 0; c < w.tokens; ++c)
            for (std::int64_t a = 0; a < n; ++a)
                for (std::int64_t b = 0; b < n; ++b)
                    sum += double{w.row(o, c)[a * n + b]} * at(map, c, r + a - n / 2, x + b - n / 2);
        return sum;
    });
}

/// W x + b
inline std::vector<double> layer(const View& w, std::span<const float> b, const std::vector<double>& x) {
    std::vector<double> y(b.begin(), b.end());
    for (std::int64_t r = 0; r < w.heads; ++r)
        for (std::int64_t c = 0; c < w.dim; ++c)
            y[static_cast<std::size_t>(r)] += double{w.row(r, 0)[c]} * x[static_cast<std::size_t>(c)];
    return y;
}
inline std::vector<double> layer(const attenta::Matrices<const float>& w, std::span<const float> b,
                                 const std::vector<double>& x) {
    return layer(View{w.data, w.rows, 1, w.cols, w.row_stride, 0}, b, x);
}

/// A matrix of one head, from a tensor [rows, 1, columns].
inline attenta::Matrices<const float> matrix(const Tensor<float>& x) {
    return {x.view().data, 1, x.view().heads, x.view().dim, x.view().head_stride, 0};
}

inline testing::AssertionResult is_close(const float* x, const std::vector<double>& want, Tolerance tolerance = {}) {
    for (std::size_t i = 0; i < want.size(); ++i)
        if (!tolerance.holds(double{x[i]}, want[i]))
            return testing::AssertionFailure() << "[" << i << "] is " << x[i] << ", expected " << want[i];
    return testing::AssertionSuccess();
}

struct MapShape {
    std::int64_t C, H, W;
};
inline std::vector<MapShape> awkward_maps() {
    return {{1, 1, 1}, {3, 1, 7}, {17, 9, 20}, {24, 13, 11}, {5, 2, 5}, {6, 33, 65}, {130, 3, 40}, {4, 70, 1}};
}

/// call(o, context) gives `want`, into a map with gaps and into one without.
template <class Call>
void expect_map(const Map& want, Call&& call, Tolerance tolerance = {}) {
    expect_heads(want, call, tolerance);
    const Tensor<float> o(std::ssize(want), want[0].rows(), want[0].cols());
    Context context;
    call(o.view(), context);
    for (std::int64_t c = 0; c < o.view().heads; ++c)
        EXPECT_TRUE(is_close(o.row(c, 0), o.view().token_stride, want[static_cast<std::size_t>(c)], tolerance))
            << "channel " << c << " without gaps";
}

}  // namespace attenta_test
