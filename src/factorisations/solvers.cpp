#include "solvers.hpp"

#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#include <Eigen/SVD>

#include <algorithm>

ATTENTA_BEGIN

namespace factorisation {

namespace {

constexpr auto thin = Eigen::ComputeThinU | Eigen::ComputeThinV;

template <class Solver>
Svd parts_of(const Solver& solver) {
    return {solver.matrixU(), solver.matrixV(), solver.singularValues()};
}

}  // namespace

Svd svd(const Eigen::MatrixXd& x) { return parts_of(Eigen::JacobiSVD<Eigen::MatrixXd>(x, thin)); }
Svd svd_of_large(const Eigen::MatrixXd& x) { return parts_of(Eigen::BDCSVD<Eigen::MatrixXd>(x, thin)); }

SymmetricEigen symmetric_eigen(const Eigen::MatrixXd& x) {
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(x);
    return {solver.eigenvalues(), solver.eigenvectors()};
}
Eigen::VectorXd symmetric_eigenvalues(const Eigen::MatrixXd& x) {
    return Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>(x, Eigen::EigenvaluesOnly).eigenvalues();
}

Eigen::VectorXcd eigenvalues(const Eigen::MatrixXd& x) {
    return Eigen::EigenSolver<Eigen::MatrixXd>(x, false).eigenvalues();
}

ThinQr thin_qr(const Eigen::MatrixXd& x) {
    const Eigen::Index k = std::min(x.rows(), x.cols());
    const Eigen::HouseholderQR<Eigen::MatrixXd> qr(x);
    return {qr.householderQ() * Eigen::MatrixXd::Identity(x.rows(), k),
            qr.matrixQR().topRows(k).triangularView<Eigen::Upper>()};
}

}  // namespace factorisation

ATTENTA_END
