// Scores scale · qᵀ W_a k in double precision.
#pragma once

#include <cstdint>

#include "softmax/support/naive.hpp"

namespace attenta_test {

template <class Inputs>
auto naive_bilinear(const Inputs& x, double scale) {
    const View k = k_of(x.kv);
    return [&x, k, scale](std::int64_t h, std::int64_t i, std::int64_t j) {
        std::vector<double> q = wide(x.q.row(h, i), x.q.dim);
        if (x.w_a) {
            std::vector<double> folded(static_cast<std::size_t>(k.dim));
            for (std::int64_t c = 0; c < k.dim; ++c)
                for (std::int64_t d = 0; d < x.q.dim; ++d)
                    folded[static_cast<std::size_t>(c)] += q[static_cast<std::size_t>(d)] * double{x.w_a.row(0, d)[c]};
            q = folded;
        }
        return scale * naive_dot(q, wide(k.row(h / (x.q.heads / k.heads), j), k.dim));
    };
}

}  // namespace attenta_test
