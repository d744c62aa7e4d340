// Small networks in double precision.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "softmax/support/mechanism.hpp"

namespace attenta_test {

using Weights = attenta::Matrices<const float>;

inline double naive_sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

/// x w^T of columns [begin, begin + x) of w.
inline std::vector<double> naive_linear(const Weights& w, const std::vector<double>& x, std::int64_t begin = 0) {
    std::vector<double> y(static_cast<std::size_t>(w.rows));
    for (std::size_t r = 0; r < y.size(); ++r)
        for (std::size_t c = 0; c < x.size(); ++c)
            y[r] += double{w.row(0, static_cast<std::int64_t>(r))[begin + static_cast<std::int64_t>(c)]} * x[c];
    return y;
}

inline std::vector<double> naive_sum(std::vector<double> a, const std::vector<double>& b) {
    for (std::size_t c = 0; c < a.size(); ++c) a[c] += b[c];
    return a;
}
inline std::vector<double> naive_sum(std::vector<double> a, std::span<const float> b) {
    for (std::size_t c = 0; c < b.size(); ++c) a[c] += double{b[c]};
    return a;
}

/// v·tanh(a + b + shift)
inline double naive_tanh_score(std::span<const float> v, const std::vector<double>& a, const std::vector<double>& b,
                               std::span<const float> shift = {}) {
    double s = 0;
    const std::vector<double> hidden = naive_sum(naive_sum(a, b), shift);
    for (std::size_t c = 0; c < hidden.size(); ++c) s += double{v[c]} * std::tanh(hidden[c]);
    return s;
}

/// f(row) of all rows of a tensor, by head and token.
template <class F>
std::vector<std::vector<double>> naive_rows(const View& x, F&& f) {
    std::vector<std::vector<double>> rows;
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t) rows.push_back(f(wide(x.row(h, t), x.dim)));
    return rows;
}

/// Weights of a row: exp(s − lse).
inline std::vector<double> naive_softmax(const std::vector<double>& s) {
    const double top = *std::max_element(s.begin(), s.end());
    double sum = 0;
    std::vector<double> w;
    for (const double x : s) w.push_back(top == minus_infinity ? 0 : std::exp(x - top));
    for (const double x : w) sum += x;
    for (double& x : w) x /= sum == 0 ? 1 : sum;
    return w;
}

}  // namespace attenta_test
