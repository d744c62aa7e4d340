#pragma once

#include <attenta/engine/elementwise/request.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Parameters of the task, whose rows are x and maybe a sum that is there already.
struct DampedEmaTask {
    Matrices<const float> delta, alpha, beta, gamma;  ///< from the direction's first channel on
    const float* omega;                               ///< null: o is the plain sum
    bool silu;

    std::int64_t states() const { return delta.cols; }
    /// Rows of scratch: what is lost of each state, taken of x, given to y; alpha on the way; omega.
    std::int64_t rows() const { return 4 * states() + 1; }
};
ATTENTA_DECLARE_KERNEL(elementwise::TaskFunction, damped_ema_task)

}  // namespace detail

ATTENTA_END
