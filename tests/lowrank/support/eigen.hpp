// Decompositions for definitions, by Jacobi's rotations.
#pragma once

#include <cmath>
#include <numeric>

#include "lowrank/support/lowrank.hpp"

namespace attenta_test {

struct EigenPairs {
    std::vector<double> values;  ///< falling
    Mat vectors;                 ///< columns
};

inline EigenPairs eigen_pairs(Mat a) {
    const std::int64_t n = a.rows();
    Mat v = Mat::identity(n);
    for (int sweep = 0; sweep < 60; ++sweep)
        for (std::int64_t p = 0; p < n; ++p)
            for (std::int64_t q = p + 1; q < n; ++q) {
                if (a(p, q) == 0) continue;
                const double theta = (a(q, q) - a(p, p)) / (2 * a(p, q));
                const double t = (theta < 0 ? -1 : 1) / (std::abs(theta) + std::sqrt(theta * theta + 1)),
                             c = 1 / std::sqrt(t * t + 1), s = t * c;
                const auto turn = [c, s](double& x, double& y) {
                    const double before = x;
                    x = c * x - s * y;
                    y = s * before + c * y;
                };
                for (std::int64_t i = 0; i < n; ++i) turn(a(i, p), a(i, q));
                for (std::int64_t i = 0; i < n; ++i) turn(a(p, i), a(q, i));
                for (std::int64_t i = 0; i < n; ++i) turn(v(i, p), v(i, q));
            }
    std::vector<std::int64_t> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](std::int64_t i, std::int64_t j) { return a(i, i) > a(j, j); });
    EigenPairs pairs{{}, Mat(n, n)};
    for (std::int64_t c = 0; c < n; ++c) {
        const std::int64_t from = order[static_cast<std::size_t>(c)];
        pairs.values.push_back(a(from, from));
        for (std::int64_t r = 0; r < n; ++r) pairs.vectors(r, c) = v(r, from);
    }
    return pairs;
}

/// Rows whose variance falls off by `decay` per direction of a random basis: eigenvalues stand apart.
inline Tensor<float> skewed_tensor(Random& random, std::int64_t heads, std::int64_t tokens, std::int64_t dim,
                                   double decay, Order order = Order::head_token, std::int64_t pad = 0) {
    Tensor<float> x(heads, tokens, dim, order, pad);
    for (std::int64_t h = 0; h < heads; ++h) {
        Mat g(dim, dim), y(tokens, dim);
        for (std::int64_t r = 0; r < dim; ++r)
            for (std::int64_t c = 0; c < dim; ++c) g(r, c) = double{random.normal()};
        const Mat basis = eigen_pairs(g + g.transposed()).vectors;
        for (std::int64_t r = 0; r < tokens; ++r)
            for (std::int64_t c = 0; c < dim; ++c) y(r, c) = double{random.normal()} * std::pow(decay, c);
        y = y * basis;
        for (std::int64_t r = 0; r < tokens; ++r)
            for (std::int64_t c = 0; c < dim; ++c) x.row(h, r)[c] = static_cast<float>(y(r, c));
    }
    return x;
}

inline attenta::Heads<float> heads_of(std::vector<float>& x, std::int64_t heads, std::int64_t rows, std::int64_t cols) {
    x.assign(static_cast<std::size_t>(heads * rows * cols), 0.f);
    return attenta::hnd(x.data(), heads, rows, cols);
}

}  // namespace attenta_test
