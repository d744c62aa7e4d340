#pragma once

#include <attenta/engine/elementwise/request.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>
#include <span>

ATTENTA_BEGIN

namespace detail {

/// Parameters of the task, whose row is x.
struct CausalConvTask {
    Heads<const float> weight, bias;
    bool silu, residual;
    std::span<const std::int64_t> at;
    float* state_at;  ///< [len(at), heads, taps - 1, channels]

    std::int64_t taps() const { return weight.dim; }
};
ATTENTA_DECLARE_KERNEL(elementwise::TaskFunction, causal_conv_task)

}  // namespace detail

ATTENTA_END
