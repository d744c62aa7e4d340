// Square matrices of doubles: attention of layers and its residual connection.
#pragma once

#include <cstdint>
#include <vector>

#include "analysis/support/readout.hpp"

namespace attenta_test {

class Square {
public:
    explicit Square(std::int64_t n) : n_(n), x_(static_cast<std::size_t>(n * n)) {}

    std::int64_t size() const { return n_; }
    const std::vector<double>& numbers() const { return x_; }
    double& operator()(std::int64_t i, std::int64_t j) { return x_[static_cast<std::size_t>(i * n_ + j)]; }
    double operator()(std::int64_t i, std::int64_t j) const { return x_[static_cast<std::size_t>(i * n_ + j)]; }

    friend Square operator*(const Square& a, const Square& b) {
        Square c(a.n_);
        for (std::int64_t i = 0; i < a.n_; ++i)
            for (std::int64_t k = 0; k < a.n_; ++k)
                for (std::int64_t j = 0; j < a.n_; ++j) c(i, j) += a(i, k) * b(k, j);
        return c;
    }

private:
    std::int64_t n_;
    std::vector<double> x_;
};

inline Square identity(std::int64_t n) {
    Square m(n);
    for (std::int64_t i = 0; i < n; ++i) m(i, i) = 1;
    return m;
}

inline void append(std::vector<double>& to, const Square& m) {
    to.insert(to.end(), m.numbers().begin(), m.numbers().end());
}

inline Square head_of(const analysis::Weights& attn, std::int64_t layer, std::int64_t head) {
    Square m(attn.size(3));
    for (std::int64_t i = 0; i < attn.size(2); ++i)
        for (std::int64_t j = 0; j < attn.size(3); ++j)
            m(i, j) = double{attn.data[((layer * attn.size(1) + head) * attn.size(2) + i) * attn.size(3) + j]};
    return m;
}

/// rownorm((1 − r) a + r I)
inline Square mixed(Square a, double residual) {
    for (std::int64_t i = 0; i < a.size(); ++i) {
        double sum = 0;
        for (std::int64_t j = 0; j < a.size(); ++j) {
            a(i, j) = (1 - residual) * a(i, j) + (i == j ? residual : 0);
            sum += a(i, j);
        }
        for (std::int64_t j = 0; j < a.size(); ++j) a(i, j) /= sum;
    }
    return a;
}

/// The same of the mean over the heads of each layer.
inline std::vector<Square> mean_layers(const analysis::Weights& attn, double residual) {
    std::vector<Square> layers;
    for (std::int64_t l = 0; l < attn.size(0); ++l) {
        Square mean(attn.size(3));
        for (std::int64_t h = 0; h < attn.size(1); ++h) {
            const Square head = head_of(attn, l, h);
            for (std::int64_t i = 0; i < mean.size(); ++i)
                for (std::int64_t j = 0; j < mean.size(); ++j)
                    mean(i, j) += head(i, j) / static_cast<double>(attn.size(1));
        }
        layers.push_back(mixed(mean, residual));
    }
    return layers;
}

}  // namespace attenta_test
