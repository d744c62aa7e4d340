// Distances from keys to the convex hull of the others.
#include <attenta/analysis/selectable_keys.hpp>
#include <attenta/core/run_tasks.hpp>

#include <Eigen/Cholesky>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "read_matrix.hpp"

ATTENTA_BEGIN

namespace analysis {

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

/// The point nearest to 0 in the convex hull of the rows of a matrix, by Wolfe's algorithm: it walks from a few of them, the corral,
/// whose combination is nearest within their plane, to one more row that lies farther in the direction of 0.
class NearestPoint {
public:
    explicit NearestPoint(const MatrixXd& points) : points_(points) {
        const VectorXd squares = points.rowwise().squaredNorm();
        farthest_ = std::sqrt(squares.maxCoeff());
        Index nearest = 0;
        squares.minCoeff(&nearest);
        corral_ = {{nearest, 1.0}};
        point_ = points.row(nearest);
    }

    double distance() {
        while (point_.norm() > counts_as_zero * farthest_) {
            Index next = 0;
            const double reach = (points_ * point_).minCoeff(&next), square = point_.squaredNorm();
            const bool known = std::any_of(corral_.begin(), corral_.end(), [&](auto& m) { return m.row == next; });
            if (known || square - reach <= rounding * farthest_ * point_.norm()) return point_.norm();
            corral_.push_back({next, 0.0});
            settle();
            const VectorXd nearer = combination();
            if (!(nearer.squaredNorm() < square)) return point_.norm();
            point_ = nearer;
        }
        return 0;
    }

private:
    static constexpr double counts_as_zero = 1e-6;  // of the distance of the farthest row
    static constexpr double rounding = 1e-13;       // the same, of steps that lead nowhere
    static constexpr double least_weight = 1e-14;

    struct Member {
        Index row = 0;
        double weight = 0;
    };

    /// Walks towards the nearest point of the members' plane; members whose weight ends on the way leave.
    void settle() {
        for (;;) {
            const VectorXd goal = plane_weights();
            if (goal.minCoeff() > least_weight) {
                for (std::size_t i = 0; i < corral_.size(); ++i) corral_[i].weight = goal[static_cast<Index>(i)];
                return;
            }
            double step = std::numeric_limits<double>::infinity();
            std::size_t first_to_end = 0;
            for (std::size_t i = 0; i < corral_.size(); ++i) {
                const double weight = corral_[i].weight, to = goal[static_cast<Index>(i)];
                if (to > least_weight) continue;
                const double until = weight > to ? weight / (weight - to) : 0;
                if (until < step) step = until, first_to_end = i;
            }
            for (std::size_t i = 0; i < corral_.size(); ++i)
                corral_[i].weight += std::min(step, 1.0) * (goal[static_cast<Index>(i)] - corral_[i].weight);
            corral_[first_to_end].weight = 0;
            std::erase_if(corral_, [](const Member& m) { return m.weight <= least_weight; });
        }
    }
    /// Weights v that sum to 1 and make |Σ v_i z_i| least: (Z Zᵀ + s 1 1ᵀ) u = 1, v = u / Σ u, for any s > 0.
    VectorXd plane_weights() const {
        const auto n = static_cast<Index>(corral_.size());
        MatrixXd z(n, points_.cols());
        for (Index i = 0; i < n; ++i) z.row(i) = points_.row(corral_[static_cast<std::size_t>(i)].row);
        MatrixXd products = z * z.transpose();
        products.array() += products.diagonal().mean();
        const VectorXd u = products.ldlt().solve(VectorXd::Ones(n));
        return u / u.sum();
    }
    VectorXd combination() const {
        VectorXd sum = VectorXd::Zero(points_.cols());
        for (const Member& m : corral_) sum += m.weight * points_.row(m.row).transpose();
        return sum;
    }

    const MatrixXd& points_;
    double farthest_ = 0;
    std::vector<Member> corral_;
    VectorXd point_;
};

/// Of row i to the hull of the others.
double hull_distance(const MatrixXd& keys, Index i) {
    if (keys.rows() == 1) return -1;
    MatrixXd others(keys.rows() - 1, keys.cols());
    others << keys.topRows(i), keys.bottomRows(keys.rows() - i - 1);
    others.rowwise() -= Eigen::RowVectorXd(keys.row(i));
    return NearestPoint(others).distance();
}

MatrixXd normalized(const Check& check, MatrixXd keys, KeyNorm norm, std::int64_t head) {
    if (norm == KeyNorm::project || norm == KeyNorm::layernorm) keys.colwise() -= VectorXd(keys.rowwise().mean());
    if (norm == KeyNorm::none || norm == KeyNorm::project) return keys;
    for (Index t = 0; t < keys.rows(); ++t) {
        const double length = keys.row(t).norm();
        if (length == 0)
            check.refuse("k is " + std::string(norm == KeyNorm::scale ? "0" : "constant") + " in token " +
                         std::to_string(t) + " of head " + checks::text(head) + ", cannot be scaled");
        keys.row(t) *= std::sqrt(static_cast<double>(keys.cols())) / length;
    }
    return keys;
}

}  // namespace

void selectable_keys(const SelectableKeysInputs& x, const SelectableKeysOutputs& out,
                     const SelectableKeysOptions& options, Context& context) {
    Check check("selectable_keys", x);
    check.finite("margin", options.margin);
    if (options.margin < 0) check.refuse("margin is " + std::to_string(options.margin) + ", needs 0 or more");
    check.scratch("k in double precision", x.k.heads, x.k.tokens, x.k.dim);
    check.finite_numbers("k", x.k);
    check.outputs(out, x, options);
    const std::int64_t heads = x.k.heads, tokens = x.k.tokens;
    std::vector<MatrixXd> keys;
    for (std::int64_t h = 0; h < heads; ++h)
        keys.push_back(normalized(check, factorisation::read_matrix(x.k, h), options.normalize, h));
    std::vector<double> distance(static_cast<std::size_t>(heads * tokens));
    run_tasks(context.executor(), heads * tokens, [&](std::int64_t i, int) {
        distance[static_cast<std::size_t>(i)] = hull_distance(keys[static_cast<std::size_t>(i / tokens)], i % tokens);
    });
    const auto is_selectable = [&](double d) { return d < 0 || d > options.margin; };
    for (std::int64_t i = 0; i < heads * tokens; ++i) {
        const double d = distance[static_cast<std::size_t>(i)];
        if (out.distance) out.distance[i] = static_cast<float>(d);
        if (out.selectable) out.selectable[i] = is_selectable(d) ? 1 : 0;
    }
    for (std::int64_t h = 0; out.unselectable_share && h < heads; ++h) {
        const auto first = distance.begin() + h * tokens;
        const auto selected = std::count_if(first, first + tokens, is_selectable);
        out.unselectable_share[h] = static_cast<float>(1 - static_cast<double>(selected) / static_cast<double>(tokens));
    }
}

}  // namespace analysis

ATTENTA_END
