#pragma once

#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/dense/layers.hpp>
#include <attenta/engine/dense/layers_kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace dense {

ATTENTA_INLINE void layer(Matrices<const float> x, Matrices<const float> w, bool transposed, LayerBias b, Activation f,
                          Matrices<float> y, Context& context) {
    const ActivateFunction activate = activate_block();
    multiply(x, w, y, {.b_transposed = transposed}, context, [&](const ProductBlock& p) {
        ActivateBlock block{y.row(0, p.row) + p.column, y.row_stride, p.rows, p.columns, b, f};
        if (b.data) block.bias.data += b.of_rows ? p.row : p.column;
        activate(block);
    });
}

}  // namespace dense

ATTENTA_END
