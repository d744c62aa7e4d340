#pragma once

#include <attenta/engine/dense/convolve.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace dense {

/// A task: `outputs` channels of rows [row, row + rows).
struct Convolution {
    static constexpr std::int64_t most_outputs = 4;

    const PaddedMap* map = nullptr;
    Heads<const float> w;
    Heads<float> to;
    ConvolutionFinish finish;
    std::int64_t output = 0, outputs = 0, row = 0, rows = 0;
};

using ConvolutionFunction = void (*)(const Convolution& task);
ATTENTA_DECLARE_KERNEL(ConvolutionFunction, convolve_rows)

}  // namespace dense

ATTENTA_END
