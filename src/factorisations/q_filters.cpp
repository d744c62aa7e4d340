// Calibration of Q-Filters: the main direction of a head's queries.
#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/kv/policies/q_filters.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <string>

#include "solvers.hpp"

ATTENTA_BEGIN

namespace {

/// First right singular vector of queries [N, D]: the top eigenvector of QᵀQ, along most of the queries.
Eigen::VectorXd main_direction(Heads<const float> q, std::int64_t head) {
    Eigen::MatrixXd queries(q.tokens, q.dim);
    for (std::int64_t t = 0; t < q.tokens; ++t)
        for (std::int64_t c = 0; c < q.dim; ++c) queries(t, c) = q.row(head, t)[c];
    const Eigen::VectorXd u =
        factorisation::symmetric_eigen(queries.transpose() * queries).vectors.col(q.dim - 1);  // eigenvalues ascend
    const auto positive = ((queries * u).array() > 0).count();
    return 2 * positive > q.tokens ? u : -u;
}

}  // namespace

std::vector<float> calibrate_q_filters(Heads<const float> q, std::int64_t kv_heads) {
    const char* const f = "q_filters";
    if (kv_heads < 1 || q.heads < 1 || q.heads % kv_heads != 0)
        fail(f, "q_cal has " + std::to_string(q.heads) + " heads, needs a multiple of the " + std::to_string(kv_heads) +
                    " K/V heads");
    if (q.tokens < 1 || q.dim < 1 || !q.data)
        fail(f, "q_cal has " + std::to_string(q.tokens) + " queries of " + std::to_string(q.dim) +
                    " features, needs at least 1 of each");
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t)
            if (!std::all_of(q.row(h, t), q.row(h, t) + q.dim, is_finite))
                fail(f, "q_cal has NaN or infinity at query " + std::to_string(t) + " of head " + std::to_string(h) +
                            ", needs finite numbers");
    const std::int64_t group = q.heads / kv_heads;
    std::vector<float> filters;
    for (std::int64_t g = 0; g < kv_heads; ++g) {
        Eigen::VectorXd sum = Eigen::VectorXd::Zero(q.dim);
        for (std::int64_t h = g * group; h < (g + 1) * group; ++h) sum += main_direction(q, h);
        for (const double x : sum) filters.push_back(static_cast<float>(x / static_cast<double>(group)));
    }
    return filters;
}

ATTENTA_END
