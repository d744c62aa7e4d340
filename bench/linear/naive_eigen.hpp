// What a user of Eigen writes for linear attention: the recurrence token by token, a map of the state per head, rank-1
// updates and products of a matrix and a vector. The baseline of the benchmarks.
#pragma once

#include <attenta/catalog.hpp>
#include <attenta/core/linear_state.hpp>

#include <span>

namespace bench::naive {

/// The inputs that any of them takes; vectors are [size, 1, 1].
struct Inputs {
    attenta::Heads<const float> q, k, v, g, beta, a, b, u, dt, A, projection, key_max, theta;
    /// Of Mamba-2 x is v, B is k, C is q.
    explicit Inputs(const attenta::NamedInputs& named);
};

/// The state is given, zeros at the start, with a normalizer; o [H, T, D].
using Linear = void(const Inputs& x, attenta::Heads<float> o, attenta::LinearState& state);

Linear kernel_linear, performer, lightning, retention, mamba2, gla, rwkv6, hgrn2, delta_rule, gated_delta_rule, kda,
    rwkv7;

/// A pass over memory that reads, scales and writes it: the least that a step of decoding does with its state.
void scale(std::span<float> x, float factor);

}  // namespace bench::naive
