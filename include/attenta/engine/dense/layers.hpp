// Fully connected layers, and what stands between them: activations, norms, softmax of rows.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/view.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace dense {

enum class Activation : std::uint8_t { none, relu, sigmoid, tanh };

/// The bias of a layer: a number for each column, or for each row of what it is added to; null: none.
struct LayerBias {
    const float* data = nullptr;
    bool of_rows = false;
};

/// y = f(x W + b) with x [rows, in], W [in, out] or, `transposed`, [out, in], y [rows, out]; one head each. All shapes have been
/// checked.
void layer(Matrices<const float> x, Matrices<const float> w, bool transposed, LayerBias b, Activation f,
           Matrices<float> y, Context& context);

/// What is written, to be read.
inline Matrices<const float> read(const Matrices<float>& x) {
    return {x.data, x.heads, x.rows, x.cols, x.row_stride, x.head_stride};
}

}  // namespace dense

ATTENTA_END
