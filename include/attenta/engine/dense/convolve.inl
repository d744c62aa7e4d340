#pragma once

#include <attenta/engine/dense/convolve.hpp>
#include <attenta/engine/dense/convolve_kernels.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace dense {

ATTENTA_INLINE void convolve(const PaddedMap& map, Heads<const float> w, Heads<float> to,
                             const ConvolutionFinish& finish, Context& context) {
    constexpr std::int64_t positions = 2048;  // of a task
    const std::int64_t rows = std::max<std::int64_t>(1, positions / to.dim), blocks = ceil_div(to.tokens, rows),
                       groups = ceil_div(to.heads, Convolution::most_outputs);
    const ConvolutionFunction run = convolve_rows();
    context.executor().parallel_for(groups * blocks, [&](std::int64_t i, int) {
        Convolution task{&map, w, to, finish};
        task.output = i / blocks * Convolution::most_outputs;
        task.outputs = std::min(Convolution::most_outputs, to.heads - task.output);
        task.row = i % blocks * rows;
        task.rows = std::min(rows, to.tokens - task.row);
        run(task);
    });
}

}  // namespace dense

ATTENTA_END
