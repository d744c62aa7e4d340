// Centred kernel alignment.
#include <attenta/analysis/cka.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <vector>

#include "read_matrix.hpp"

ATTENTA_BEGIN

namespace analysis {

namespace {

using Eigen::MatrixXd;
constexpr double least_norm = 1e-10;

MatrixXd centred_columns(MatrixXd x) {
    x.rowwise() -= Eigen::RowVectorXd(x.colwise().mean());
    return x;
}

double linear_alignment(const MatrixXd& x, const MatrixXd& y) {
    const MatrixXd a = centred_columns(x), b = centred_columns(y);
    return (a.transpose() * b).squaredNorm() / ((a.transpose() * a).norm() * (b.transpose() * b).norm() + least_norm);
}

/// Of differences, so that near points lose no digits.
MatrixXd squared_distances(const MatrixXd& x) {
    MatrixXd d = MatrixXd::Zero(x.rows(), x.rows());
    for (Eigen::Index i = 0; i < x.rows(); ++i)
        for (Eigen::Index j = 0; j < i; ++j) d(i, j) = d(j, i) = (x.row(i) - x.row(j)).squaredNorm();
    return d;
}

/// The lower median of the positive ones, 0 where there is none.
double median_distance(const MatrixXd& distances) {
    std::vector<double> positive;
    std::copy_if(distances.data(), distances.data() + distances.size(), std::back_inserter(positive),
                 [](double d) { return d > 0; });
    if (positive.empty()) return 0;
    const auto middle = positive.begin() + (std::ssize(positive) - 1) / 2;
    std::nth_element(positive.begin(), middle, positive.end());
    return *middle;
}

/// C G C of the Gaussian kernel.
MatrixXd centred_kernel(const MatrixXd& distances, double variance) {
    MatrixXd g = (distances.array() / (-2 * variance)).exp();
    const Eigen::VectorXd means = g.rowwise().mean();
    const double mean = means.mean();
    g.colwise() -= means;
    g.rowwise() -= means.transpose();
    g.array() += mean;
    return g;
}

/// A head's two sides, and the variances of their kernels.
struct Sides {
    MatrixXd x, y, x_distances, y_distances;
    double x_variance = 0, y_variance = 0;

    Sides(const CkaInputs& in, std::int64_t head, const CkaOptions& options, bool gaussian)
        : x(factorisation::read_matrix(in.x, head)), y(factorisation::read_matrix(in.y, head)) {
        if (!gaussian) return;
        x_distances = squared_distances(x);
        y_distances = squared_distances(y);
        x_variance = options.sigma ? *options.sigma * *options.sigma : median_distance(x_distances);
        y_variance = options.sigma ? *options.sigma * *options.sigma : median_distance(y_distances);
    }
    double gaussian() const {
        const MatrixXd a = centred_kernel(x_distances, x_variance), b = centred_kernel(y_distances, y_variance);
        return a.cwiseProduct(b).sum() / (a.norm() * b.norm() + least_norm);
    }
};

void check_cka(Check& check, const CkaInputs& x, const CkaOutputs& out, const CkaOptions& options) {
    check.at_least("the number of tokens", x.x.tokens, 2);
    if (options.sigma) {
        check.finite("sigma", *options.sigma);
        if (*options.sigma <= 0)
            check.refuse("sigma is " + std::to_string(*options.sigma) + ", needs a number above 0");
    }
    check.finite_numbers("x", x.x);
    check.finite_numbers("y", x.y);
    check.outputs(out, x, options);
}

}  // namespace

void cka(const CkaInputs& x, const CkaOutputs& out, const CkaOptions& options, Context& context) {
    Check check("cka", x);
    check_cka(check, x, out, options);
    std::vector<double> linear(static_cast<std::size_t>(x.x.heads)), gaussian(linear.size(), 0.0);
    std::vector<char> equal(linear.size(), 0);
    context.executor().parallel_for(x.x.heads, [&](std::int64_t h, int) {
        const auto at = static_cast<std::size_t>(h);
        const Sides sides(x, h, options, out.gaussian != nullptr);
        linear[at] = linear_alignment(sides.x, sides.y);
        if (!out.gaussian) return;
        equal[at] = sides.x_variance > 0 && sides.y_variance > 0 ? 0 : 1;
        if (!equal[at]) gaussian[at] = sides.gaussian();
    });
    if (const auto wrong = std::find(equal.begin(), equal.end(), 1); wrong != equal.end())
        check.refuse("x or y has equal points alone in head " + std::to_string(wrong - equal.begin()) +
                     ", needs a sigma for them");
    const auto narrow = [](double a) { return static_cast<float>(a); };
    if (out.linear) std::transform(linear.begin(), linear.end(), out.linear, narrow);
    if (out.gaussian) std::transform(gaussian.begin(), gaussian.end(), out.gaussian, narrow);
}

}  // namespace analysis

ATTENTA_END
