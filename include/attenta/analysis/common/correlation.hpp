// Correlations of numbers and of their ranks.
#pragma once

#include <attenta/analysis/common/ranking.hpp>

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

/// Ranks from 1 on; equal numbers share the mean of theirs.
template <class T>
std::vector<double> mean_ranks(std::span<const T> x) {
    const std::vector<std::int64_t> order = ascending(x);
    std::vector<double> rank(x.size());
    const auto value = [&](std::size_t place) { return x[static_cast<std::size_t>(order[place])]; };
    for (std::size_t first = 0; first < x.size();) {
        std::size_t end = first + 1;
        while (end < x.size() && value(end) == value(first)) ++end;
        for (std::size_t i = first; i < end; ++i)
            rank[static_cast<std::size_t>(order[i])] = 0.5 * static_cast<double>(first + end + 1);
        first = end;
    }
    return rank;
}

/// 0 where one side is constant.
inline double pearson(std::span<const double> x, std::span<const double> y) {
    double x_mean = 0, y_mean = 0, xx = 0, yy = 0, xy = 0;
    const auto n = static_cast<double>(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        x_mean += x[i] / n;
        y_mean += y[i] / n;
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double a = x[i] - x_mean, b = y[i] - y_mean;
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    const double norm = std::sqrt(xx * yy);
    return norm > 0 ? xy / norm : 0;
}

}  // namespace analysis

ATTENTA_END
