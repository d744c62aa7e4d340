// What a user of Eigen writes for linear attention: the recurrence token by token, a map of the state per head, rank-1
// updates and products of a matrix and a vector. The baseline of the benchmarks.
#pragma once

#include "bench/linear/inputs.hpp"

#include <attenta/core/linear_state.hpp>

#include <span>

namespace bench::naive {

/// The state is given, zeros at the start, with a normalizer; o [H, T, D].
using Linear = void(const LinearInputs& x, attenta::Heads<float> o, attenta::LinearState& state);

Linear kernel_linear, performer, lightning, retention, mamba2, gla, rwkv6, hgrn2, delta_rule, gated_delta_rule, kda,
    rwkv7;

/// A pass over memory that reads, scales and writes it: the least that a step of decoding does with its state.
void scale(std::span<float> x, float factor);

}  // namespace bench::naive
