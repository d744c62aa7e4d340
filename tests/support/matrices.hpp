// Matrices of doubles for definitions, and calls against them.
#pragma once

#include <attenta/core/view.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "compare.hpp"
#include "errors.hpp"
#include "isas.hpp"
#include "random.hpp"
#include "tensor.hpp"

namespace attenta_test {

using attenta::Context;
using View = attenta::Heads<const float>;

class Mat {
public:
    Mat(std::int64_t rows, std::int64_t cols) : rows_(rows), cols_(cols), x_(static_cast<std::size_t>(rows * cols)) {}
    Mat(const View& x, std::int64_t head) : Mat(x.tokens, x.dim) {
        for (std::int64_t r = 0; r < rows_; ++r)
            for (std::int64_t c = 0; c < cols_; ++c) (*this)(r, c) = double{x.row(head, r)[c]};
    }
    static Mat identity(std::int64_t n, double factor = 1) {
        Mat m(n, n);
        for (std::int64_t i = 0; i < n; ++i) m(i, i) = factor;
        return m;
    }

    std::int64_t rows() const { return rows_; }
    std::int64_t cols() const { return cols_; }
    double& operator()(std::int64_t r, std::int64_t c) { return x_[static_cast<std::size_t>(r * cols_ + c)]; }
    double operator()(std::int64_t r, std::int64_t c) const { return x_[static_cast<std::size_t>(r * cols_ + c)]; }

    Mat transposed() const {
        Mat t(cols_, rows_);
        for (std::int64_t r = 0; r < rows_; ++r)
            for (std::int64_t c = 0; c < cols_; ++c) t(c, r) = (*this)(r, c);
        return t;
    }
    /// The first n columns.
    Mat columns(std::int64_t n) const {
        Mat m(rows_, n);
        for (std::int64_t r = 0; r < rows_; ++r)
            for (std::int64_t c = 0; c < n; ++c) m(r, c) = (*this)(r, c);
        return m;
    }
    template <class F>
    Mat map(F&& f) const {
        Mat m = *this;
        std::transform(m.x_.begin(), m.x_.end(), m.x_.begin(), f);
        return m;
    }

    friend Mat operator*(const Mat& a, const Mat& b) {
        Mat c(a.rows_, b.cols_);
        for (std::int64_t i = 0; i < a.rows_; ++i)
            for (std::int64_t k = 0; k < a.cols_; ++k)
                for (std::int64_t j = 0; j < b.cols_; ++j) c(i, j) += a(i, k) * b(k, j);
        return c;
    }
    friend Mat operator*(double factor, const Mat& a) {
        return a.map([factor](double x) { return factor * x; });
    }
    friend Mat operator+(Mat a, const Mat& b) {
        for (std::size_t i = 0; i < a.x_.size(); ++i) a.x_[i] += b.x_[i];
        return a;
    }
    friend Mat operator-(const Mat& a, const Mat& b) { return a + -1.0 * b; }

private:
    std::int64_t rows_, cols_;
    std::vector<double> x_;
};

/// Of each row; with `causal` row i of the last rows sees columns up to its own. `lse` takes a column.
inline Mat softmax_rows(Mat s, bool causal = false, Mat* lse = nullptr) {
    for (std::int64_t i = 0; i < s.rows(); ++i) {
        const std::int64_t end = causal ? s.cols() - s.rows() + i + 1 : s.cols();
        double top = s(i, 0), sum = 0;
        for (std::int64_t j = 0; j < end; ++j) top = std::max(top, s(i, j));
        for (std::int64_t j = 0; j < end; ++j) sum += std::exp(s(i, j) - top);
        for (std::int64_t j = 0; j < s.cols(); ++j) s(i, j) = j < end ? std::exp(s(i, j) - top) / sum : 0;
        if (lse) (*lse)(i, 0) = top + std::log(sum);
    }
    return s;
}

inline float default_scale(std::int64_t dim) { return 1.f / std::sqrt(static_cast<float>(dim)); }

/// x [rows, cols] is `want`.
inline testing::AssertionResult is_close(const float* x, std::int64_t stride, const Mat& want,
                                         Tolerance tolerance = {}) {
    for (std::int64_t r = 0; r < want.rows(); ++r)
        for (std::int64_t c = 0; c < want.cols(); ++c)
            if (!tolerance.holds(double{x[r * stride + c]}, want(r, c)))
                return testing::AssertionFailure()
                       << "[" << r << ", " << c << "] is " << x[r * stride + c] << ", expected " << want(r, c);
    return testing::AssertionSuccess();
}

/// call(o, context) gives `want`, a matrix per head, on every instruction set; the same bits for any threads, nothing between
/// the rows, the same in a dense o.
template <class Call>
void expect_heads(const std::vector<Mat>& want, Call&& call, Tolerance tolerance = {}) {
    const std::int64_t heads = std::ssize(want), tokens = want[0].rows(), dim = want[0].cols();
    std::vector<float> of_one_thread;
    attenta::Isa before = attenta::active_isa();
    on_every_isa([&](Context& context) {
        const Tensor<float> o(heads, tokens, dim, Order::token_head, 3);
        call(o.view(), context);
        EXPECT_TRUE(o.padding_is_untouched());
        for (std::int64_t h = 0; h < heads; ++h)
            EXPECT_TRUE(is_close(o.row(h, 0), o.view().token_stride, want[static_cast<std::size_t>(h)], tolerance))
                << "head " << h;
        if (attenta::active_isa() != before || of_one_thread.empty()) of_one_thread = o.memory();
        before = attenta::active_isa();
        EXPECT_TRUE(same_bits(of_one_thread.data(), o.memory().data(), std::ssize(o.memory())));
    });
}

/// call(o) with o [heads, tokens, dim] throws Error with these words, and o stays as it was.
template <class Call>
testing::AssertionResult refuses_to_write(const View& sizes, Call&& call,
                                          std::initializer_list<std::string_view> words) {
    const Tensor<float> o(sizes.heads, sizes.tokens, sizes.dim), fresh(sizes.heads, sizes.tokens, sizes.dim);
    const testing::AssertionResult refused = refuses([&] { call(o.view()); }, words);
    if (refused && !same_bits(o.memory().data(), fresh.memory().data(), std::ssize(o.memory())))
        return testing::AssertionFailure() << "o was written";
    return refused;
}

}  // namespace attenta_test
