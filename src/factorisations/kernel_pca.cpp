// Kernel PCA of the keys of a head, beside its attention.
#include <attenta/analysis/common/ranking.hpp>
#include <attenta/analysis/kernel_pca.hpp>
#include <attenta/core/run_tasks.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "alignment.hpp"
#include "read_matrix.hpp"
#include "solvers.hpp"

ATTENTA_BEGIN

namespace analysis {

namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

MatrixXd standardized(MatrixXd x) {
    x.colwise() -= VectorXd(x.rowwise().mean());
    const VectorXd variance = x.rowwise().squaredNorm() / static_cast<double>(x.cols() - 1);
    x.array().colwise() /= variance.array().sqrt() + 1e-8;
    return x;
}

/// Log-sum-exp of each row.
VectorXd log_sums(const MatrixXd& scores) {
    const VectorXd top = scores.rowwise().maxCoeff();
    return (scores.colwise() - top).array().exp().rowwise().sum().log() + top.array();
}

/// log(exp(a) + exp(b))
double log_add(double a, double b) { return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b))); }

struct KernelAxes {
    VectorXd eigenvalues;  ///< by their magnitudes
    MatrixXd values;       ///< V̂ [Tk, components], up to a factor
};

KernelAxes principal_axes(const MatrixXd& k, double scale, Eigen::Index components) {
    const MatrixXd scores = scale * (k * k.transpose());
    const VectorXd lse = log_sums(scores);
    const double least = std::log(1e-6);
    MatrixXd kernel(k.rows(), k.rows());
    for (Eigen::Index j = 0; j < k.rows(); ++j)
        for (Eigen::Index i = j; i < k.rows(); ++i)
            kernel(i, j) = kernel(j, i) = std::exp(scores(i, j) - log_add(lse[i] + lse[j], least));
    const auto eigen = factorisation::symmetric_eigen(factorisation::centred_both_ways(std::move(kernel)));
    const VectorXd magnitudes = eigen.values.cwiseAbs();
    const auto order = descending(std::span(magnitudes.data(), static_cast<std::size_t>(magnitudes.size())));
    KernelAxes axes{VectorXd(components), MatrixXd(k.rows(), components)};
    for (Eigen::Index c = 0; c < components; ++c) {
        const std::int64_t from = order[static_cast<std::size_t>(c)];
        axes.eigenvalues[c] = magnitudes[from];
        axes.values.col(c) = eigen.vectors.col(from);
    }
    axes.values = factorisation::centred_columns(std::move(axes.values));
    axes.values.array().colwise() *= (lse.minCoeff() - lse.array()).exp();
    return axes;
}

MatrixXd of_unit_mean_square(const MatrixXd& x) {
    const double root = std::sqrt(x.squaredNorm() / static_cast<double>(x.size()));
    return root > 0 ? MatrixXd(x / root) : x;
}

struct HeadNumbers {
    VectorXd eigenvalues, query_norm, output_norm;
    double error = 0, linear = 0, gaussian = 0;
    bool equal_values = false;  ///< so that there is no Gaussian kernel
};

void compare_values(const MatrixXd& v, const MatrixXd& predicted, bool gaussian, HeadNumbers& to) {
    to.linear = factorisation::linear_alignment(of_unit_mean_square(v), of_unit_mean_square(predicted));
    if (!gaussian) return;
    const factorisation::Distances given(v), claimed(predicted);
    const double v_variance = given.median_square(), variance = claimed.median_square();
    to.equal_values = !(v_variance > 0 && variance > 0);
    if (to.equal_values) return;
    to.gaussian = factorisation::alignment(given.centred_kernel(v_variance), claimed.centred_kernel(variance));
}

void compare_norms(const MatrixXd& q, const MatrixXd& k, const MatrixXd& v, double scale, HeadNumbers& to) {
    const MatrixXd scores = scale * (q * k.transpose());
    const VectorXd lse = log_sums(scores);
    const MatrixXd weights = (scores.colwise() - lse).array().exp();
    to.query_norm = (scale * q.rowwise().squaredNorm() - 2 * lse).array().exp();
    to.output_norm = (weights * v).rowwise().squaredNorm();
    to.error = (to.query_norm - to.output_norm).cwiseAbs().mean();
}

HeadNumbers numbers_of_head(const KernelPcaInputs& x, std::int64_t head, const KernelPcaOutputs& wanted,
                            const KernelPcaOptions& options) {
    MatrixXd q = factorisation::read_matrix(x.q, head), k = factorisation::read_matrix(x.k, head);
    const MatrixXd v = factorisation::read_matrix(x.v, head);
    if (options.standardize) {
        q = standardized(std::move(q));
        k = standardized(std::move(k));
    }
    const double scale = options.scale.value_or(1 / std::sqrt(static_cast<double>(x.q.dim)));
    HeadNumbers numbers;
    if (wanted.query_norm || wanted.output_norm || wanted.error) compare_norms(q, k, v, scale, numbers);
    if (!wanted.eigenvalues && !wanted.linear_cka && !wanted.gaussian_cka) return numbers;
    KernelAxes axes = principal_axes(k, scale, std::min(options.components.value_or(x.k.dim), x.k.tokens));
    numbers.eigenvalues = std::move(axes.eigenvalues);
    compare_values(v, axes.values, wanted.gaussian_cka != nullptr, numbers);
    return numbers;
}

void check_kernel_pca(Check& check, const KernelPcaInputs& x, const KernelPcaOutputs& out,
                      const KernelPcaOptions& options) {
    check.at_least("the number of keys", x.k.tokens, 2);
    if (options.standardize && x.q.dim < 2) check.refuse("standardize is true and q has 1 channel, needs at least 2");
    if (options.components) check.at_least("components", *options.components, 1);
    if (options.scale) {
        check.finite("scale", *options.scale);
        if (*options.scale == 0) check.refuse("scale is 0, needs another number");
    }
    check.scratch("the kernel of a head", x.k.tokens, x.k.tokens, 1);
    check.scratch("the scores of a head", x.q.tokens, x.k.tokens, 1);
    check.finite_numbers("q", x.q);
    check.finite_numbers("k", x.k);
    check.finite_numbers("v", x.v);
    check.outputs(out, x, options);
}

}  // namespace

void kernel_pca(const KernelPcaInputs& x, const KernelPcaOutputs& out, const KernelPcaOptions& options,
                Context& context) {
    Check check("kernel_pca", x);
    check_kernel_pca(check, x, out, options);
    std::vector<HeadNumbers> heads(static_cast<std::size_t>(x.q.heads));
    run_tasks(context.executor(), x.q.heads,
              [&](std::int64_t h, int) { heads[static_cast<std::size_t>(h)] = numbers_of_head(x, h, out, options); });
    for (std::size_t h = 0; h < heads.size(); ++h)
        if (heads[h].equal_values)
            check.refuse("gaussian_cka is wanted, the values of head " + std::to_string(h) +
                         " or those predicted are all equal, needs some that differ");
    const auto narrow = [](double a) { return static_cast<float>(a); };
    const auto give = [&](float* to, auto&& of_head) {
        for (const HeadNumbers& head : heads) {
            const VectorXd& numbers = of_head(head);
            if (to) to = std::transform(numbers.begin(), numbers.end(), to, narrow);
        }
    };
    give(out.eigenvalues, [](const HeadNumbers& h) -> const VectorXd& { return h.eigenvalues; });
    give(out.query_norm, [](const HeadNumbers& h) -> const VectorXd& { return h.query_norm; });
    give(out.output_norm, [](const HeadNumbers& h) -> const VectorXd& { return h.output_norm; });
    for (std::size_t h = 0; h < heads.size(); ++h) {
        if (out.error) out.error[h] = narrow(heads[h].error);
        if (out.linear_cka) out.linear_cka[h] = narrow(heads[h].linear);
        if (out.gaussian_cka) out.gaussian_cka[h] = narrow(heads[h].gaussian);
    }
}

}  // namespace analysis

ATTENTA_END
