#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace structured {

/// c ← c σ(forget) + z σ(input), of a row of states: forget = y w_f + b_f + 1 and the like. Without `input` its gate is 1 − σ(forget).
struct GateRow {
    float* c = nullptr;
    const float *z = nullptr, *z_bias = nullptr;
    const float *forget = nullptr, *forget_bias = nullptr, *input = nullptr, *input_bias = nullptr;  ///< or null
    float forget_shift = 0, input_shift = 0;
    bool tanh = false;  ///< of z
    std::int64_t n = 0;
};
using GateRowFunction = void (*)(const GateRow& g);
ATTENTA_DECLARE_KERNEL(GateRowFunction, gate_state_row)

}  // namespace structured

ATTENTA_END
