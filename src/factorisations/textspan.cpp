// Texts that span a head's outputs.
#include <attenta/analysis/textspan.hpp>

#include <Eigen/Core>

#include <cmath>
#include <vector>

#include "read_matrix.hpp"
#include "solvers.hpp"

ATTENTA_BEGIN

namespace analysis {

namespace {

using Eigen::MatrixXd;
using Eigen::RowVectorXd;
using Eigen::VectorXd;

MatrixXd matrix_of(const DenseTensor<const float, 2>& x) {
    return factorisation::read_matrix(hnd(x.data, 1, x.size(0), x.size(1)), 0);
}

/// Texts within the span of the first right singular vectors of data.
MatrixXd projected_texts(const MatrixXd& data, const MatrixXd& text, std::int64_t rank) {
    const auto svd = factorisation::svd_of_large(data);
    const Eigen::Index kept = std::min<Eigen::Index>(svd.v.cols(), rank);
    const MatrixXd basis = svd.v.leftCols(kept);
    return (text * basis) * basis.transpose();
}

/// Standard deviation of data · text_m for every text; data is centred.
VectorXd spreads(const MatrixXd& data, const MatrixXd& text) {
    const MatrixXd products = data * text.transpose();
    const MatrixXd centred = products.rowwise() - RowVectorXd(products.colwise().mean());
    return (centred.colwise().squaredNorm().transpose() / static_cast<double>(data.rows() - 1)).cwiseSqrt();
}

/// What rounding leaves of a spread of 1.
constexpr double nothing = 1e-12;

struct Span {
    std::vector<std::int64_t> chosen;
    std::vector<double> spread, explained;
    MatrixXd reconstruction;
};

/// As many picks as there are texts with a spread, at most `picks`.
Span choose_texts(MatrixXd data, MatrixXd text, std::int64_t picks) {
    const RowVectorXd mean = data.colwise().mean();
    data.rowwise() -= mean;
    const double all = data.squaredNorm();
    Span span;
    span.reconstruction = mean.replicate(data.rows(), 1);
    while (std::ssize(span.chosen) < picks) {
        VectorXd spread = spreads(data, text);
        for (const std::int64_t m : span.chosen) spread[m] = 0;
        Eigen::Index best = 0;
        const double largest = spread.maxCoeff(&best);
        if (!(largest > (span.spread.empty() ? 0 : nothing * span.spread.front()))) break;
        const RowVectorXd r = text.row(best);
        const MatrixXd part = data * r.transpose() / r.squaredNorm() * r;
        span.reconstruction += part;
        data -= part;
        text -= MatrixXd(text * r.transpose() / r.squaredNorm() * r);
        span.chosen.push_back(best);
        span.spread.push_back(largest);
        span.explained.push_back(1 - data.squaredNorm() / all);
    }
    return span;
}

}  // namespace

void textspan(const TextspanInputs& x, const TextspanOutputs& out, const TextspanOptions& options, Context&) {
    Check check("textspan", x);
    check.at_least("the number of rows of data", x.data.size(0), 2);
    check.at_least("rank", options.rank, 1);
    check.range("picks", options.picks, 1, std::min(x.text.size(0), x.text.size(1)));
    check.finite_numbers("data", x.data);
    check.finite_numbers("text", x.text);
    check.outputs(out, x, options);
    const MatrixXd data = matrix_of(x.data);
    const Span span = choose_texts(data, projected_texts(data, matrix_of(x.text), options.rank), options.picks);
    if (std::ssize(span.chosen) < options.picks)
        check.refuse("picks is " + checks::text(options.picks) + ", only " + std::to_string(span.chosen.size()) +
                     " texts have a spread");
    const auto narrow = [](double a) { return static_cast<float>(a); };
    if (out.chosen) std::copy(span.chosen.begin(), span.chosen.end(), out.chosen);
    if (out.spread) std::transform(span.spread.begin(), span.spread.end(), out.spread, narrow);
    if (out.explained) std::transform(span.explained.begin(), span.explained.end(), out.explained, narrow);
    for (std::int64_t n = 0; out.reconstruction && n < x.data.size(0); ++n)
        for (std::int64_t e = 0; e < x.data.size(1); ++e)
            out.reconstruction[n * x.data.size(1) + e] = static_cast<float>(span.reconstruction(n, e));
}

}  // namespace analysis

ATTENTA_END
