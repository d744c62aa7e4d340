// Centred kernel alignment of two sets of vectors of the same tokens, rows of matrices. Kornblith et al. 2019.
#pragma once

#include <attenta/core/config.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <iterator>
#include <vector>

ATTENTA_BEGIN

namespace factorisation {

/// Added to a product of norms, which may be 0.
inline constexpr double least_norm = 1e-10;

inline Eigen::MatrixXd centred_columns(Eigen::MatrixXd x) {
    x.rowwise() -= Eigen::RowVectorXd(x.colwise().mean());
    return x;
}

/// C G C of a symmetric matrix, C = I − 11ᵀ / T.
inline Eigen::MatrixXd centred_both_ways(Eigen::MatrixXd g) {
    const Eigen::VectorXd means = g.rowwise().mean();
    const double mean = means.mean();
    g.colwise() -= means;
    g.rowwise() -= means.transpose();
    g.array() += mean;
    return g;
}

/// Of the kernels X Xᵀ and Y Yᵀ, from covariances.
inline double linear_alignment(const Eigen::MatrixXd& x, const Eigen::MatrixXd& y) {
    const Eigen::MatrixXd a = centred_columns(x), b = centred_columns(y);
    return (a.transpose() * b).squaredNorm() / ((a.transpose() * a).norm() * (b.transpose() * b).norm() + least_norm);
}

/// A Gaussian kernel exp(−d² / (2 variance)) before its width is chosen.
class Distances {
public:
    Distances() = default;
    /// Of differences, so that near points lose no digits.
    explicit Distances(const Eigen::MatrixXd& x) : squares_(x.rows(), x.rows()) {
        const Eigen::MatrixXd points = x.transpose();
        for (Eigen::Index i = 0; i < x.rows(); ++i) {
            squares_(i, i) = 0;
            for (Eigen::Index j = 0; j < i; ++j)
                squares_(i, j) = squares_(j, i) = (points.col(i) - points.col(j)).squaredNorm();
        }
    }

    /// The lower median of the positive squares, 0 where there is none.
    double median_square() const {
        std::vector<double> positive;
        std::copy_if(squares_.data(), squares_.data() + squares_.size(), std::back_inserter(positive),
                     [](double d) { return d > 0; });
        if (positive.empty()) return 0;
        const auto middle = positive.begin() + (std::ssize(positive) - 1) / 2;
        std::nth_element(positive.begin(), middle, positive.end());
        return *middle;
    }
    Eigen::MatrixXd centred_kernel(double variance) const {
        return centred_both_ways((squares_.array() / (-2 * variance)).exp());
    }

private:
    Eigen::MatrixXd squares_;
};

/// Of two centred kernels.
inline double alignment(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) {
    return a.cwiseProduct(b).sum() / (a.norm() * b.norm() + least_norm);
}

}  // namespace factorisation

ATTENTA_END
