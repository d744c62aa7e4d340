// What a page says of a head, in double precision from the whole matrix of weights.
#pragma once

#include <attenta/core/view.hpp>

#include "grid.hpp"
#include "head_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

namespace view_test {

/// Weights [queries, keys] of a head.
struct Weights {
    std::int64_t queries = 0, keys = 0;
    std::vector<double> a;

    double at(std::int64_t i, std::int64_t j) const { return a[static_cast<std::size_t>(i * keys + j)]; }
};

using Visible = std::function<bool(std::int64_t query, std::int64_t key)>;

/// a_ij = exp(scale · q_i·k_j) / Σ over visible keys; 0 where nothing is visible.
inline Weights naive_softmax(const attenta::Heads<const float>& q, const attenta::Heads<const float>& k,
                             std::int64_t head, double scale, const Visible& visible) {
    Weights w{q.tokens, k.tokens, std::vector<double>(static_cast<std::size_t>(q.tokens * k.tokens))};
    for (std::int64_t i = 0; i < w.queries; ++i) {
        double* const row = w.a.data() + i * w.keys;
        double top = -INFINITY, sum = 0;
        std::vector<double> s(static_cast<std::size_t>(w.keys), -INFINITY);
        for (std::int64_t j = 0; j < w.keys; ++j) {
            if (!visible(i, j)) continue;
            double dot = 0;
            for (std::int64_t c = 0; c < q.dim; ++c)
                dot += double{q.row(head, i)[c]} * double{k.row(head * k.heads / q.heads, j)[c]};
            s[static_cast<std::size_t>(j)] = scale * dot;
            top = std::max(top, scale * dot);
        }
        for (const double x : s) sum += x == -INFINITY ? 0 : std::exp(x - top);
        for (std::int64_t j = 0; j < w.keys; ++j)
            row[j] =
                s[static_cast<std::size_t>(j)] == -INFINITY ? 0 : std::exp(s[static_cast<std::size_t>(j)] - top) / sum;
    }
    return w;
}

struct NaiveTile {
    double max = 0, mean = 0;
};

inline NaiveTile naive_tile(const Weights& w, const view::Grid& grid, std::int64_t row, std::int64_t col) {
    NaiveTile tile;
    const std::int64_t last_query = std::min((row + 1) * grid.tile_queries, w.queries),
                       last_key = std::min((col + 1) * grid.tile_keys, w.keys);
    double sum = 0, pairs = 0;
    for (std::int64_t i = row * grid.tile_queries; i < last_query; ++i)
        for (std::int64_t j = col * grid.tile_keys; j < last_key; ++j) {
            tile.max = std::max(tile.max, w.at(i, j));
            sum += w.at(i, j);
            ++pairs;
        }
    tile.mean = sum / pairs;
    return tile;
}

/// entropy, sink and distance of the header of head_map.hpp, and the key that receives most.
struct NaiveNumbers {
    double entropy = 0, sink = 0, distance = 0, received = 0;
};

inline NaiveNumbers naive_numbers(const Weights& w, std::int64_t first_position) {
    NaiveNumbers n;
    const auto queries = static_cast<double>(w.queries);
    for (std::int64_t j = 0; j < w.keys; ++j) {
        double received = 0;
        for (std::int64_t i = 0; i < w.queries; ++i) {
            const double a = w.at(i, j);
            received += a / queries;
            n.distance += a * std::abs(static_cast<double>(i + first_position - j)) / queries;
            n.entropy -= (a > 0 ? a * std::log(a) : 0) / queries;
        }
        if (j == 0) n.sink = received;
        n.received = std::max(n.received, received);
    }
    return n;
}

/// Up to `tolerance`, or exactly.
inline void expect_head(const view::Head& head, const view::Grid& grid, std::int64_t first_position, const Weights& w,
                        double tolerance) {
    ASSERT_EQ(std::ssize(head.max), grid.tiles());
    ASSERT_EQ(std::ssize(head.mean), grid.tiles());
    for (std::int64_t r = 0; r < grid.rows(); ++r)
        for (std::int64_t c = 0; c < grid.cols(); ++c) {
            const auto at = static_cast<std::size_t>(r * grid.cols() + c);
            const NaiveTile tile = naive_tile(w, grid, r, c);
            ASSERT_NEAR(double{head.max[at]}, tile.max, tolerance) << "tile " << r << ", " << c;
            ASSERT_NEAR(double{head.mean[at]}, tolerance == 0 ? double{static_cast<float>(tile.mean)} : tile.mean,
                        tolerance)
                << "tile " << r << ", " << c;
        }
    const NaiveNumbers n = naive_numbers(w, first_position);
    const double of_sums = std::max(tolerance, 1e-12) * static_cast<double>(w.keys);
    EXPECT_NEAR(head.entropy, n.entropy, of_sums);
    EXPECT_NEAR(head.sink, n.sink, of_sums);
    EXPECT_NEAR(head.distance, n.distance, of_sums * static_cast<double>(w.keys));
    EXPECT_NEAR(head.received, n.received, of_sums);
}

}  // namespace view_test
