#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/softmax/row_norms.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Weights of a query's norm and of its keys' norm, null where there are none.
struct CosineWeights {
    const float *query = nullptr, *query_bias = nullptr, *key = nullptr, *key_bias = nullptr;
};

/// y = norm(x) with the weights of the keys multiplied in, minus its mean where the norm is `layer`. Returns norm(x) · key_bias.
using FoldQuery = float (*)(const float* x, std::int64_t dim, VectorNorm norm, float eps, const CosineWeights& weights,
                            float* y);
ATTENTA_DECLARE_KERNEL(FoldQuery, fold_query)

}  // namespace detail

ATTENTA_END
