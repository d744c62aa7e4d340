// Rows of a head as a matrix of doubles, for decompositions.
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace factorisation {

inline Eigen::MatrixXd read_matrix(const Heads<const float>& x, std::int64_t head) {
    Eigen::MatrixXd m(x.tokens, x.dim);
    for (std::int64_t t = 0; t < x.tokens; ++t)
        m.row(t) = Eigen::Map<const Eigen::RowVectorXf>(x.row(head, t), x.dim).cast<double>();
    return m;
}

/// Appends the rows of m.
inline void append(const Eigen::MatrixXd& m, std::vector<float>& to) {
    for (Eigen::Index r = 0; r < m.rows(); ++r)
        for (Eigen::Index c = 0; c < m.cols(); ++c) to.push_back(static_cast<float>(m(r, c)));
}
inline void append(const Eigen::VectorXd& x, std::vector<double>& to) { to.insert(to.end(), x.begin(), x.end()); }

/// Throws Error unless x is there, has `least` rows and a head and a column at least, and is finite.
inline void check_matrix(const char* f, const char* name, const Heads<const float>& x, std::int64_t least) {
    if (!x.data) fail(f, std::string(name) + " is null, needs a tensor");
    if (x.heads < 1 || x.tokens < least || x.dim < 1)
        fail(f, std::string(name) + " is " + checks::shape(x.heads, x.tokens, x.dim) + ", needs at least " +
                    checks::shape(1, least, 1));
    check_memory(f, name, x);
    checks::check_pointer(f, name, x.data, sizeof(float), true);
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t)
            if (!std::all_of(x.row(h, t), x.row(h, t) + x.dim, is_finite))
                fail(f, std::string(name) + " has NaN or infinity in row " + checks::text(t) + " of head " +
                            checks::text(h) + ", needs finite numbers");
}

}  // namespace factorisation

ATTENTA_END
