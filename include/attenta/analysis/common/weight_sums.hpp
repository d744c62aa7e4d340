// Sums of attention weights, as products with a row of ones: what a key receives, what the heads have in common.
#pragma once

#include <attenta/analysis/common/arrays.hpp>
#include <attenta/analysis/common/tensors.hpp>
#include <attenta/core/context.hpp>
#include <attenta/engine/dense/dense.hpp>

#include <cstdint>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

/// to [matrices, cols] = factor · the sums over the rows of each matrix.
inline void column_sums(Matrices<const float> x, float factor, float* to, Context& context) {
    const std::vector<float> ones = equal_numbers(x.rows, 1.f);
    dense::multiply({ones.data(), 1, 1, x.rows}, x, {to, x.heads, 1, x.cols}, {.alpha = factor}, context);
}

/// to [L, Tq, Tk] = the mean over the heads of each layer.
inline void head_means(const Weights& attn, float* to, Context& context) {
    const std::int64_t layers = attn.size(0), heads = attn.size(1), square = attn.size(2) * attn.size(3);
    column_sums({attn.data, layers, heads, square}, 1.f / static_cast<float>(heads), to, context);
}

}  // namespace analysis

ATTENTA_END
