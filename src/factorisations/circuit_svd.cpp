// Scores of pairs along the singular directions of a head.
#include <attenta/analysis/circuit_svd.hpp>
#include <attenta/analysis/common/ranking.hpp>
#include <attenta/core/run_tasks.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <vector>

#include "read_matrix.hpp"
#include "solvers.hpp"

ATTENTA_BEGIN

namespace analysis {

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

/// Rows [rows, cols] and another row below them.
MatrixXd with_row(const float* x, Index rows, Index cols, const float* last) {
    MatrixXd m(rows + 1, cols);
    m.topRows(rows) = factorisation::read_matrix(hnd(x, 1, rows, cols), 0);
    m.bottomRows(1) = factorisation::read_matrix(hnd(last, 1, 1, cols), 0);
    return m;
}

/// What a head makes of the tokens: its singular values, and x̃ · u_k and x̃ · v_k of each token.
struct Directions {
    VectorXd sigma;
    MatrixXd to, from;

    Directions(const MatrixXd& tokens, const MatrixXd& queries, const MatrixXd& keys) {
        const auto q = factorisation::thin_qr(queries), k = factorisation::thin_qr(keys);
        const auto svd = factorisation::svd(q.r * k.r.transpose());
        sigma = svd.singular;
        to = tokens * (q.q * svd.u);
        from = tokens * (k.q * svd.v);
    }
};

/// Which terms explain their sum; the largest of its sign come first.
std::vector<std::int64_t> explaining_terms(const VectorXd& terms, double score, double share) {
    const std::span<const double> all(terms.data(), static_cast<std::size_t>(terms.size()));
    std::vector<std::int64_t> order = score > 0 ? descending(all) : ascending(all);
    if (score == 0) return order;
    double sum = 0;
    const auto enough =
        std::find_if(order.begin(), order.end(), [&](std::int64_t k) { return (sum += terms[k]) / score > share; });
    if (enough != order.end()) order.erase(enough + 1, order.end());
    return order;
}

void check_circuit_svd(const CircuitSvdInputs& x, const CircuitSvdOutputs& out, const CircuitSvdOptions& options) {
    Check check("circuit_svd", x);
    if (!(options.share > 0 && options.share <= 1))
        check.refuse("share is " + std::to_string(options.share) + ", needs a number above 0 and at most 1");
    if (x.w_q.size(2) > x.w_q.size(1) + 1)
        check.refuse("w_q has " + checks::text(x.w_q.size(2)) + " features, needs at most " +
                     checks::text(x.w_q.size(1) + 1) + ", one more than the width of x");
    for (std::int64_t i = 0; i < x.pairs.count(); ++i) check.range("pairs", x.pairs.data[i], 0, x.x.size(0) - 1);
    check.finite_numbers("x", x.x);
    check.finite_numbers("w_q", x.w_q);
    check.finite_numbers("w_k", x.w_k);
    check.finite_numbers("b_q", x.b_q);
    check.finite_numbers("b_k", x.b_k);
    check.scratch("the tokens along the directions", x.x.size(0), x.w_q.size(2), 2);
    check.outputs(out, x, options);
}

/// Of pair `at` of all heads.
void give_pair(const CircuitSvdOutputs& out, std::int64_t at, const VectorXd& terms, double share) {
    const double score = terms.sum();
    if (out.score) out.score[at] = static_cast<float>(score);
    if (out.terms)
        std::transform(terms.begin(), terms.end(), out.terms + at * terms.size(),
                       [](double a) { return static_cast<float>(a); });
    if (!out.count && !out.used) return;
    const std::vector<std::int64_t> used = explaining_terms(terms, score, share);
    if (out.count) out.count[at] = std::ssize(used);
    if (!out.used) return;
    std::fill_n(out.used + at * terms.size(), terms.size(), 0);
    for (const std::int64_t k : used) out.used[at * terms.size() + k] = 1;
}

}  // namespace

void circuit_svd(const CircuitSvdInputs& x, const CircuitSvdOutputs& out, const CircuitSvdOptions& options,
                 Context& context) {
    check_circuit_svd(x, out, options);
    const std::int64_t width = x.x.size(1), dim = x.w_q.size(2), pairs = x.pairs.size(0);
    MatrixXd tokens = MatrixXd::Ones(x.x.size(0), width + 1);
    tokens.leftCols(width) = factorisation::read_matrix(hnd(x.x.data, 1, x.x.size(0), width), 0);
    run_tasks(context.executor(), x.w_q.size(0), [&](std::int64_t h, int) {
        const auto factor = [&](const auto& w, const auto& b) {
            return with_row(w.data + h * width * dim, width, dim, b.data + h * dim);
        };
        const Directions head(tokens, factor(x.w_q, x.b_q), factor(x.w_k, x.b_k));
        for (std::int64_t k = 0; out.singular_values && k < dim; ++k)
            out.singular_values[h * dim + k] = static_cast<float>(head.sigma[k]);
        for (std::int64_t p = 0; p < pairs; ++p) {
            const std::int64_t destination = x.pairs.data[2 * p], source = x.pairs.data[2 * p + 1];
            give_pair(out, h * pairs + p,
                      head.sigma.cwiseProduct(head.to.row(destination).transpose())
                          .cwiseProduct(head.from.row(source).transpose()),
                      options.share);
        }
    });
}

}  // namespace analysis

ATTENTA_END
