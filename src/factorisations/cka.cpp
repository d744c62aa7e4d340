// Centred kernel alignment.
#include <attenta/analysis/cka.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "alignment.hpp"
#include "read_matrix.hpp"

ATTENTA_BEGIN

namespace analysis {

namespace {

using Eigen::MatrixXd;

/// A head's two sides, and the variances of their kernels.
struct Sides {
    MatrixXd x, y;
    factorisation::Distances x_distances, y_distances;
    double x_variance = 0, y_variance = 0;

    Sides(const CkaInputs& in, std::int64_t head, const CkaOptions& options, bool gaussian)
        : x(factorisation::read_matrix(in.x, head)), y(factorisation::read_matrix(in.y, head)) {
        if (!gaussian) return;
        x_distances = factorisation::Distances(x);
        y_distances = factorisation::Distances(y);
        x_variance = options.sigma ? *options.sigma * *options.sigma : x_distances.median_square();
        y_variance = options.sigma ? *options.sigma * *options.sigma : y_distances.median_square();
    }
    double gaussian() const {
        return factorisation::alignment(x_distances.centred_kernel(x_variance), y_distances.centred_kernel(y_variance));
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
        linear[at] = factorisation::linear_alignment(sides.x, sides.y);
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
