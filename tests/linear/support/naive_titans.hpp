// The memory of Titans in double precision, straight from its equations, and a call with all that it borrows.
#pragma once

#include <attenta/linear/recurrent/titans.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "compare.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {

using attenta::TitansActivation;
using attenta::TitansInputs;
using attenta::TitansNorm;
using attenta::TitansOptions;
using attenta::TitansRead;
using attenta::TitansState;

/// A matrix of a head.
struct NaiveMatrix {
    std::int64_t rows = 0, cols = 0;
    std::vector<double> x;

    NaiveMatrix(const LinearState& s, std::int64_t head, std::int64_t r, std::int64_t c)
        : rows(r), cols(c), x(static_cast<std::size_t>(r * c)) {
        if (!s.empty()) std::copy_n(s.of(head), r * c, x.begin());
    }
    double& at(std::int64_t r, std::int64_t c) { return x.data()[r * cols + c]; }
    Row times(const Row& y) {  // Wᵀ y
        Row z(static_cast<std::size_t>(cols));
        for (std::int64_t r = 0; r < rows; ++r)
            for (std::int64_t c = 0; c < cols; ++c) z.data()[c] += at(r, c) * y.data()[r];
        return z;
    }
};

/// One or two layers of a head with their momenta.
struct NaiveTitans {
    const TitansOptions& options;
    std::vector<NaiveMatrix> w, z;

    double act(double x) const {
        if (options.activation == TitansActivation::relu) return std::isnan(x) || x > 0 ? x : 0;
        if (options.activation == TitansActivation::silu) return x / (1 + std::exp(-x));
        return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    }
    double slope(double x) const {
        if (options.activation == TitansActivation::relu) return x > 0;
        const double s = 1 / (1 + std::exp(-x));
        if (options.activation == TitansActivation::silu) return s * (1 + x * (1 - s));
        return 0.5 * std::erfc(-x / std::numbers::sqrt2) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
    }
    Row hidden(const Row& x) {
        Row y = w[0].times(x);
        for (double& e : y) e = act(e);
        return y;
    }
    Row network(const Row& x) { return w.size() == 1 ? w[0].times(x) : w[1].times(hidden(x)); }
    /// Normalised in place; returns the deviation.
    double normalize(Row& y) const {
        if (options.norm == TitansNorm::none) return 1;
        double mean = 0, variance = 0;
        for (const double e : y) mean += e / static_cast<double>(y.size());
        for (double& e : y) e -= mean, variance += e * e / static_cast<double>(y.size());
        const double s = std::sqrt(variance + double{options.norm_eps});
        for (double& e : y) e /= s;
        return s;
    }
    Row recall(const Row& x) {
        Row y = network(x);
        normalize(y);
        for (std::size_t i = 0; i < y.size() && options.residual; ++i) y[i] += x[i];
        return y;
    }
    /// Left and right vectors of each layer's gradient.
    std::vector<std::pair<Row, Row>> gradient(const Row& k, const Row& v) {
        Row y = network(k), e = recall(k);
        const double s = normalize(y), n = static_cast<double>(y.size());
        double mean = 0, along = 0;
        for (std::size_t i = 0; i < e.size(); ++i) {
            e[i] = 2 * double{options.loss_scale} * (e[i] - v[i]);
            mean += e[i] / n, along += e[i] * y[i] / n;
        }
        for (std::size_t i = 0; i < e.size() && options.norm == TitansNorm::layer; ++i)
            e[i] = (e[i] - mean - y[i] * along) / s;
        if (w.size() == 1) return {{k, e}};
        const Row raw = w[0].times(k);
        Row d(raw.size());
        for (std::int64_t r = 0; r < w[1].rows; ++r) {
            for (std::int64_t c = 0; c < w[1].cols; ++c) d.data()[r] += w[1].at(r, c) * e.data()[c];
            d.data()[r] *= slope(raw.data()[r]);
        }
        return {{k, d}, {hidden(k), e}};
    }
    void update(const std::vector<std::pair<Row, Row>>& u, double theta, double alpha, double eta) {
        for (std::size_t layer = 0; layer < w.size(); ++layer)
            for (std::int64_t r = 0; r < w[layer].rows; ++r)
                for (std::int64_t c = 0; c < w[layer].cols; ++c) {
                    double& z_rc = z[layer].at(r, c);
                    z_rc = eta * z_rc - theta * u[layer].first.data()[r] * u[layer].second.data()[c];
                    w[layer].at(r, c) = (1 - alpha) * w[layer].at(r, c) + z_rc;
                }
    }
};

struct NaiveTitansResult {
    std::vector<double> o;                   ///< [H, T, Dv]
    std::vector<std::vector<double>> parts;  ///< w1, z1, w2, z2, all heads
};

inline NaiveTitansResult naive_titans(const TitansInputs& x, const TitansOptions& options, const TitansState& past) {
    NaiveTitansResult result;
    result.parts.resize(past.two_layers() ? 4 : 2);
    const std::int64_t D = x.k.dim, Dv = x.v.dim, E = past.two_layers() ? past.second.weights.dim : Dv;
    for (std::int64_t h = 0; h < x.k.heads; ++h) {
        NaiveTitans m{options, {{past.first.weights, h, D, E}}, {{past.first.momentum, h, D, E}}};
        if (past.two_layers()) {
            m.w.emplace_back(past.second.weights, h, E, Dv);
            m.z.emplace_back(past.second.momentum, h, E, Dv);
        }
        NaiveTitans frozen = m;
        const auto row_of = [&](const View& y, std::int64_t t) {
            Row row = naive_row(y, h, y.heads, t);
            const double norm = std::sqrt(naive_dot(row.data(), row) + double{options.eps});
            for (double& e : row) e /= options.qk_l2norm ? norm : 1;
            return row;
        };
        for (std::int64_t t = 0; t < x.k.tokens; ++t) {
            if (t % options.chunk == 0) frozen.w = m.w;
            Row o = m.recall(row_of(x.q, t));
            m.update(frozen.gradient(row_of(x.k, t), naive_row(x.v, h, x.v.heads, t)), double{x.theta.row(h, t)[0]},
                     double{x.alpha.row(h, t)[0]}, double{x.eta.row(h, t)[0]});
            if (options.read == TitansRead::after) o = m.recall(row_of(x.q, t));
            result.o.insert(result.o.end(), o.begin(), o.end());
        }
        for (std::size_t layer = 0; layer < m.w.size(); ++layer) {
            result.parts[2 * layer].insert(result.parts[2 * layer].end(), m.w[layer].x.begin(), m.w[layer].x.end());
            result.parts[2 * layer + 1].insert(result.parts[2 * layer + 1].end(), m.z[layer].x.begin(),
                                               m.z[layer].x.end());
        }
    }
    return result;
}

struct TitansShape {
    std::int64_t H = 2, T = 1, D = 8, Dv = 8, E = 0;  ///< E = 0: one layer
};

/// Inputs of a memory: keys and queries of length 1, gentle steps.
struct TitansTensors {
    Tensor<float> q, k, v, theta, alpha, eta;

    TitansTensors(Random& random, const TitansShape& s, Order order = Order::head_token, std::int64_t pad = 0)
        : q(units(random, s, order, pad)),
          k(units(random, s, order, pad)),
          v(random_tensor(random, s.H, s.T, s.Dv, order, pad, 1.f)),
          theta(numbers(random, s, order, pad, 0.f,
                        s.E ? 1.f / static_cast<float>(std::max<std::int64_t>(10, s.E)) : 0.3f)),
          alpha(numbers(random, s, order, pad, 0.f, 0.3f)),
          eta(numbers(random, s, order, pad, 0.1f, 0.8f)) {}

    TitansInputs view(std::int64_t begin, std::int64_t count) const {
        const auto part = [&](const Tensor<float>& x) { return View(x.view()).slice(begin, count); };
        return {part(q), part(k), part(v), part(theta), part(alpha), part(eta)};
    }

private:
    static Tensor<float> numbers(Random& random, const TitansShape& s, Order order, std::int64_t pad, float low,
                                 float high) {
        Tensor<float> x(s.H, s.T, 1, order, pad);
        x.each_row([&](float* row, std::int64_t, std::int64_t) {
            row[0] = low + (high - low) * static_cast<float>(random.uniform());
        });
        return x;
    }
    static Tensor<float> units(Random& random, const TitansShape& s, Order order, std::int64_t pad) {
        Tensor<float> x = random_tensor(random, s.H, s.T, s.D, order, pad, 1.f);
        x.each_row([&](float* row, std::int64_t, std::int64_t) {
            double squares = 0;
            for (std::int64_t i = 0; i < s.D; ++i) squares += double{row[i]} * double{row[i]};
            for (std::int64_t i = 0; i < s.D; ++i) row[i] = static_cast<float>(double{row[i]} / std::sqrt(squares));
        });
        return x;
    }
};

/// Weights, and momenta where asked for.
inline TitansState titans_past(Random& random, const TitansShape& s, bool momenta) {
    const auto drawn = [&](std::int64_t rows, std::int64_t cols, float gain) {
        LinearState x(s.H, rows, cols);
        for (float& e : x.matrix) e = gain * random.normal();
        return x;
    };
    const auto unit = [](std::int64_t rows) { return 1 / std::sqrt(static_cast<float>(rows)); };
    TitansState past;
    const std::int64_t hidden = s.E ? s.E : s.Dv;
    past.first.weights = drawn(s.D, hidden, unit(s.D));
    if (momenta) past.first.momentum = drawn(s.D, hidden, 0.05f);
    if (s.E) past.second.weights = drawn(s.E, s.Dv, unit(s.E));
    if (s.E && momenta) past.second.momentum = drawn(s.E, s.Dv, 0.05f);
    return past;
}

inline std::vector<const std::vector<float>*> parts_of(const TitansState& s) {
    if (!s.two_layers()) return {&s.first.weights.matrix, &s.first.momentum.matrix};
    return {&s.first.weights.matrix, &s.first.momentum.matrix, &s.second.weights.matrix, &s.second.momentum.matrix};
}

/// NaN stands where the definition has it; other numbers are right.
inline testing::AssertionResult close_to(const std::vector<float>& got, const std::vector<double>& want) {
    if (got.size() != want.size()) return testing::AssertionFailure() << got.size() << " numbers, not " << want.size();
    for (std::size_t i = 0; i < got.size(); ++i) {
        const double g = double{got[i]};
        if (std::isnan(want[i]) ? std::isnan(g) : std::abs(g - want[i]) <= 5e-5 + 3e-4 * std::abs(want[i])) continue;
        return testing::AssertionFailure() << "number " << i << " is " << g << ", expected " << want[i];
    }
    return testing::AssertionSuccess();
}

inline testing::AssertionResult equal_bits(const TitansState& a, const TitansState& b) {
    const auto x = parts_of(a), y = parts_of(b);
    if (x.size() != y.size()) return testing::AssertionFailure() << "other layers";
    for (std::size_t i = 0; i < x.size(); ++i)
        if (!equal_bits(*x[i], *y[i])) return testing::AssertionFailure() << "the states differ in part " << i;
    return testing::AssertionSuccess();
}

}  // namespace attenta_test
