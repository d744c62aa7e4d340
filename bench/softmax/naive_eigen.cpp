#include "bench/softmax/naive_eigen.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace bench {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Rows of one head.
template <class M, class T>
Eigen::Map<M, 0, Eigen::OuterStride<>> rows(attenta::Heads<T> x, std::int64_t head) {
    return {x.row(head, 0), x.tokens, x.dim, Eigen::OuterStride<>(x.token_stride)};
}

}  // namespace

void naive_eigen(attenta::Heads<const float> q, attenta::Heads<const float> k, attenta::Heads<const float> v,
                 attenta::Heads<float> o, bool causal) {
    constexpr std::int64_t block = 256;
    const float scale = 1.0f / std::sqrt(static_cast<float>(q.dim));
    const std::int64_t offset = k.tokens - q.tokens;
    Matrix scores(std::min(block, q.tokens), k.tokens);
    Eigen::VectorXf denominator(block);
    for (std::int64_t h = 0; h < q.heads; ++h) {
        const auto Q = rows<const Matrix>(q, h);
        const auto K = rows<const Matrix>(k, h / (q.heads / k.heads));
        const auto V = rows<const Matrix>(v, h / (q.heads / k.heads));
        auto O = rows<Matrix>(o, h);
        for (std::int64_t begin = 0; begin < q.tokens; begin += block) {
            const std::int64_t count = std::min(block, q.tokens - begin);
            const std::int64_t keys = causal ? begin + count + offset : k.tokens;
            auto s = scores.topLeftCorner(count, keys);
            s.noalias() = scale * Q.middleRows(begin, count) * K.topRows(keys).transpose();
            for (std::int64_t i = 0; i < count; ++i) {
                auto row = s.row(i).array();
                if (causal) row.tail(count - 1 - i) = -std::numeric_limits<float>::infinity();
                row = (row - row.maxCoeff()).exp();
                denominator[i] = row.sum();
            }
            auto out = O.middleRows(begin, count);
            out.noalias() = s * V.topRows(keys);
            out.array().colwise() /= denominator.head(count).array();
        }
    }
}

std::string naive_eigen_version() {
    return "Eigen " + std::to_string(EIGEN_WORLD_VERSION) + '.' + std::to_string(EIGEN_MAJOR_VERSION) + '.' +
           std::to_string(EIGEN_MINOR_VERSION);
}

}  // namespace bench
