// Principal components of calibration keys.
#include <attenta/lowrank/lowrank_keys.hpp>

#include <Eigen/Core>

#include <cmath>

#include "read_matrix.hpp"
#include "solvers.hpp"

ATTENTA_BEGIN

namespace {

/// Rows at positions 0, 1, ..; channel d turns with channel d + D/2.
void rotate(Eigen::MatrixXd& keys, double base) {
    const Eigen::Index half = keys.cols() / 2;
    for (Eigen::Index d = 0; d < half; ++d) {
        const double frequency = std::pow(base, -2.0 * static_cast<double>(d) / static_cast<double>(keys.cols()));
        for (Eigen::Index t = 0; t < keys.rows(); ++t) {
            const double angle = static_cast<double>(t) * frequency, c = std::cos(angle), s = std::sin(angle);
            const double x = keys(t, d), y = keys(t, d + half);
            keys(t, d) = x * c - y * s;
            keys(t, d + half) = y * c + x * s;
        }
    }
}

}  // namespace

KeyBasis key_basis(Heads<const float> calibration, const KeyBasisOptions& options) {
    const char* const f = "key_basis";
    factorisation::check_matrix(f, "calibration", calibration, 2);
    if (options.rotary == KeyRotary::post && calibration.dim % 2 != 0)
        fail(f, "calibration has " + checks::text(calibration.dim) + " features, rotary post needs an even number");
    if (!(options.rope_base > 0) || !std::isfinite(options.rope_base))
        fail(f, "rope_base is " + std::to_string(options.rope_base) + ", needs a finite number above 0");
    KeyBasis basis;
    basis.heads = calibration.heads;
    basis.dim = calibration.dim;
    for (std::int64_t h = 0; h < calibration.heads; ++h) {
        Eigen::MatrixXd keys = factorisation::read_matrix(calibration, h);
        if (options.rotary == KeyRotary::post) rotate(keys, options.rope_base);
        keys.rowwise() -= Eigen::RowVectorXd(keys.colwise().mean());
        const Eigen::MatrixXd covariance = keys.transpose() * keys / static_cast<double>(keys.rows() - 1);
        const auto eigen = factorisation::symmetric_eigen(covariance);
        const Eigen::VectorXd variance = eigen.values.reverse();  // the solver's ascend
        if (!(variance.sum() > 0))
            fail(f, "calibration has no variance in head " + checks::text(h) + ", needs keys that differ");
        factorisation::append(Eigen::MatrixXd(eigen.vectors.rowwise().reverse()), basis.components);
        factorisation::append(Eigen::VectorXd(variance.cwiseMax(0) / variance.sum()), basis.explained_variance_ratio);
    }
    return basis;
}

ATTENTA_END
