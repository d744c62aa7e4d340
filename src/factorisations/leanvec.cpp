// The fits of LeanVec.
#include <attenta/lowrank/leanvec.hpp>

#include <Eigen/Core>

#include <cmath>

#include "read_matrix.hpp"
#include "solvers.hpp"

ATTENTA_BEGIN

namespace {

using Eigen::MatrixXd;

/// The learning vectors of a head, as far as fits need them.
struct Gram {
    MatrixXd queries, keys;

    /// ‖Q A Bᵀ Xᵀ − Q Xᵀ‖²
    double loss(const MatrixXd& a, const MatrixXd& b) const {
        const MatrixXd ab = a * b.transpose(), qa = queries * ab * keys;
        return (ab.transpose() * qa).trace() - 2 * qa.trace() + norm();
    }
    /// ‖Q Xᵀ‖²
    double norm() const { return (queries * keys).trace(); }
};

struct Projections {
    MatrixXd a, b;
};

/// The matrix with orthonormal columns nearest to y.
MatrixXd polar(const MatrixXd& y) {
    const auto svd = factorisation::svd(y);
    return svd.u * svd.v.transpose();
}

Projections leading_eigenvectors(const MatrixXd& symmetric, std::int64_t rank) {
    const MatrixXd leading =
        factorisation::symmetric_eigen(symmetric).vectors.rowwise().reverse().leftCols(rank);  // eigenvalues ascend
    return {leading, leading};
}

Projections frank_wolfe(const Gram& gram, std::int64_t rank, const LeanvecFitOptions& options) {
    const auto& [g, h] = gram;
    MatrixXd a = MatrixXd::Identity(g.rows(), rank), b = MatrixXd::Zero(g.rows(), rank);
    double before = 0;
    for (std::int64_t t = 0; t < options.max_steps; ++t) {
        const double gamma = std::pow(static_cast<double>(t + 1), -0.999);
        if (t > 0) {
            const MatrixXd hb = h * b;
            a = (1 - gamma) * a + gamma * polar(g * hb - g * (a * (b.transpose() * hb)));
        }
        const MatrixXd ga = g * a;
        b = (1 - gamma) * b + gamma * polar(h * ga - h * (b * (a.transpose() * ga)));
        const double loss = gram.loss(a, b);
        if (t > 1 && std::abs(loss - before) < options.rel_tol * before) break;
        before = loss;
    }
    return {a, b};
}

Projections fit_head(const MatrixXd& q, const MatrixXd& x, const Gram& gram, std::int64_t rank,
                     const LeanvecFitOptions& options) {
    if (options.method == LeanvecMethod::frank_wolfe) return frank_wolfe(gram, rank, options);
    if (options.method == LeanvecMethod::eigsearch)
        return leading_eigenvectors((1 - *options.beta) * gram.queries / static_cast<double>(q.rows()) +
                                        *options.beta * gram.keys / static_cast<double>(x.rows()),
                                    rank);
    if (!options.center) return leading_eigenvectors(gram.keys, rank);
    const MatrixXd centered = x.rowwise() - Eigen::RowVectorXd(x.colwise().mean());
    return leading_eigenvectors(centered.transpose() * centered, rank);
}

void check_fit(Heads<const float> q, Heads<const float> k, std::int64_t rank, const LeanvecFitOptions& options) {
    const char* const f = "leanvec_fit";
    factorisation::check_matrix(f, "learn_q", q, 1);
    factorisation::check_matrix(f, "learn_k", k, 1);
    if (q.heads != k.heads || q.dim != k.dim)
        fail(f, "learn_q has " + checks::text(q.heads) + " heads of " + checks::text(q.dim) + " features, needs the " +
                    checks::text(k.heads) + " of " + checks::text(k.dim) + " of learn_k");
    if (rank < 1 || rank > k.dim)
        fail(f, "rank is " + checks::text(rank) + ", needs 1 to the " + checks::text(k.dim) + " features of learn_k");
    if (options.method == LeanvecMethod::eigsearch && !options.beta)
        fail(f, "beta is missing, eigsearch needs a number from 0 to 1");
    if (options.beta && !(*options.beta >= 0 && *options.beta <= 1))
        fail(f, "beta is " + std::to_string(*options.beta) + ", needs a number from 0 to 1");
    checks::require_at_least(f, "max_steps", options.max_steps, 1);
    if (!(options.rel_tol >= 0))
        fail(f, "rel_tol is " + std::to_string(options.rel_tol) + ", needs a number of at least 0");
}

}  // namespace

Leanvec leanvec_fit(Heads<const float> learn_q, Heads<const float> learn_k, const LeanvecFitOptions& options) {
    const std::int64_t rank = options.rank.value_or(std::max<std::int64_t>(1, learn_k.dim / 2));
    check_fit(learn_q, learn_k, rank, options);
    Leanvec fit;
    fit.heads = learn_k.heads, fit.dim = learn_k.dim, fit.rank = rank;
    for (std::int64_t h = 0; h < fit.heads; ++h) {
        const MatrixXd q = factorisation::read_matrix(learn_q, h), x = factorisation::read_matrix(learn_k, h);
        const Gram gram{q.transpose() * q, x.transpose() * x};
        const auto [a, b] = fit_head(q, x, gram, rank, options);
        const double norm = gram.norm();
        factorisation::append(a, fit.a);
        factorisation::append(b, fit.b);
        fit.loss.push_back(norm > 0 ? gram.loss(a, b) / norm : 0);
    }
    return fit;
}

ATTENTA_END
