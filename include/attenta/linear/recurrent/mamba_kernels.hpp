#pragma once

#include <attenta/engine/elementwise/request.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Parameters of the task, whose rows are x, dt and maybe z.
struct MambaTask {
    Heads<const float> A, B, C, D, dt_bias;
    bool softplus, zoh;

    std::int64_t states() const { return A.dim; }
    /// Rows of scratch: A, with zoh 1 / A; D and dt_bias; of a token its steps, its inputs and the output so far.
    std::int64_t rows() const { return (zoh ? 2 : 1) * states() + 5; }
};
ATTENTA_DECLARE_KERNEL(elementwise::TaskFunction, mamba_task)

}  // namespace detail

ATTENTA_END
