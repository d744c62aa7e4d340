// Eigen's decompositions, each compiled once: their templates take a compiler half a minute in every file that names them.
#pragma once

#include <attenta/core/config.hpp>

#include <Eigen/Core>

ATTENTA_BEGIN

namespace factorisation {

/// x = U diag(singular) Vᵀ with min(rows, columns) singular values, which descend.
struct Svd {
    Eigen::MatrixXd u, v;
    Eigen::VectorXd singular;
};
/// By Jacobi's rotations, the most exact.
Svd svd(const Eigen::MatrixXd& x);
/// By divide and conquer, for many rows and columns.
Svd svd_of_large(const Eigen::MatrixXd& x);

/// Of a symmetric matrix; eigenvalues ascend, eigenvectors are columns.
struct SymmetricEigen {
    Eigen::VectorXd values;
    Eigen::MatrixXd vectors;
};
SymmetricEigen symmetric_eigen(const Eigen::MatrixXd& x);
Eigen::VectorXd symmetric_eigenvalues(const Eigen::MatrixXd& x);

/// Of any square matrix, in no order.
Eigen::VectorXcd eigenvalues(const Eigen::MatrixXd& x);

/// x [n, d] = Q R, both with min(n, d) columns or rows; R is upper triangular.
struct ThinQr {
    Eigen::MatrixXd q, r;
};
ThinQr thin_qr(const Eigen::MatrixXd& x);

}  // namespace factorisation

ATTENTA_END
