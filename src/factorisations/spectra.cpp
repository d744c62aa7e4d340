// Eigenvalues of attention matrices.
#include <attenta/analysis/common/queries_and_keys.hpp>
#include <attenta/analysis/concentration.hpp>
#include <attenta/analysis/sink_metrics.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>

#include "read_matrix.hpp"
#include "solvers.hpp"

ATTENTA_BEGIN

namespace analysis {

namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

/// Softmax of each row of scores, over the columns up to the diagonal if causal.
MatrixXd softmax_rows(MatrixXd s, bool causal) {
    for (Eigen::Index i = 0; i < s.rows(); ++i) {
        const Eigen::Index seen = causal ? i + 1 : s.cols();
        auto row = s.row(i).head(seen);
        row = (row.array() - row.maxCoeff()).exp();
        row /= row.sum();
        s.row(i).tail(s.cols() - seen).setZero();
    }
    return s;
}

/// The second largest modulus; a triangular matrix has its eigenvalues on the diagonal.
double second_modulus(const MatrixXd& weights, bool causal) {
    VectorXd moduli = causal ? VectorXd(weights.diagonal()) : VectorXd(factorisation::eigenvalues(weights).cwiseAbs());
    std::nth_element(moduli.begin(), moduli.begin() + 1, moduli.end(), std::greater<double>());
    return moduli[1];
}

/// Of the graph whose edges weigh (a + aᵀ) / 2.
double fiedler_value(const MatrixXd& attention) {
    MatrixXd edges = (attention + attention.transpose()) / 2;
    edges.diagonal().setZero();
    const MatrixXd laplacian = MatrixXd(edges.rowwise().sum().asDiagonal()) - edges;
    return factorisation::symmetric_eigenvalues(laplacian)[1];
}

}  // namespace

void spectral_gap(const ConcentrationInputs& x, const SpectralGapOutputs& out, const ConcentrationOptions& options,
                  Context& context) {
    Check check("spectral_gap", x);
    const double scale = double{check_scores(check, x.q, x.k, options.causal, options.scale)};
    if (x.q.tokens != x.k.tokens || x.q.tokens < 2)
        check.refuse("q has " + checks::text(x.q.tokens) + " tokens and k " + checks::text(x.k.tokens) +
                     ", needs equally many, two or more");
    check.finite_numbers("q", x.q);
    check.finite_numbers("k", x.k);
    check.outputs(out, x, options);
    if (!out.spectral_gap) return;
    context.executor().parallel_for(x.q.heads, [&](std::int64_t h, int) {
        const MatrixXd k = factorisation::read_matrix(x.k, h / (x.q.heads / x.k.heads));
        const MatrixXd weights =
            softmax_rows(scale * factorisation::read_matrix(x.q, h) * k.transpose(), options.causal);
        out.spectral_gap[h] = static_cast<float>(1 - second_modulus(weights, options.causal));
    });
}

void fiedler_values(const SinkMetricsInputs& x, const FiedlerOutputs& out, const FiedlerOptions& options,
                    Context& context) {
    Check check("fiedler_values", x);
    const std::int64_t heads = x.attn.count(0, 2), tokens = x.attn.size(2);
    if (tokens != x.attn.size(3) || tokens < 2)
        check.refuse("attn has " + checks::text(tokens) + " queries and " + checks::text(x.attn.size(3)) +
                     " keys, needs equally many, two or more");
    check.finite_numbers("attn", x.attn);
    check.outputs(out, x, options);
    if (!out.fiedler) return;
    context.executor().parallel_for(heads, [&](std::int64_t h, int) {
        const Heads<const float> all = hnd(x.attn.data, heads, tokens, tokens);
        out.fiedler[h] = static_cast<float>(fiedler_value(factorisation::read_matrix(all, h)));
    });
}

}  // namespace analysis

ATTENTA_END
