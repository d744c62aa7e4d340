#pragma once

#include <attenta/core/linear_state.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/kernel.hpp>
#include <attenta/engine/scan/request.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// A few tokens of the rule, all heads; `state` is advanced where it lies.
struct OjaSteps {
    scan::Request r;  ///< q, k, v, beta, gv, the map of q and k, scale
    Heads<float> o;
    LinearState* state = nullptr;

    std::int64_t group() const { return o.heads / state->heads; }
    /// Floats of a task's scratch: k, exp gv, v and their product, and q and o of the group.
    static std::int64_t scratch_floats(std::int64_t group, std::int64_t dim, std::int64_t dim_v) {
        return (1 + group) * dim + (3 + group) * (dim_v + most_lanes);
    }
    static constexpr std::int64_t most_lanes = 16;
};
using OjaStepFunction = void (*)(const OjaSteps& steps, std::int64_t head, float* scratch);
ATTENTA_DECLARE_KERNEL(OjaStepFunction, oja_steps)

/// to [cols, rows] becomes the transpose of from [rows, cols].
using TransposeFunction = void (*)(const float* from, std::int64_t rows, std::int64_t cols, float* to);
ATTENTA_DECLARE_KERNEL(TransposeFunction, transpose_matrix)

}  // namespace detail

ATTENTA_END
