// What gates on feature maps have compiled for each instruction set: pooling of channels and of positions, gates of rows.
#pragma once

#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace gating {

/// `count` runs of `length` numbers, `stride` apart: the positions of a channel.
struct Runs {
    const float* data = nullptr;
    std::int64_t count = 0, length = 0, stride = 0;
};

struct Pooled {
    float mean = 0, max = 0, log_sum_exp = 0;
};
/// Of all numbers, NaN where one is; log Σ exp where it is wanted.
using PoolRuns = Pooled (*)(const Runs& x, bool log_sum_exp);
ATTENTA_DECLARE_KERNEL(PoolRuns, pool_runs)

struct Moments {
    float mean = 0, deviation = 0;  ///< of the population
};
using RunMoments = Moments (*)(const Runs& x);
ATTENTA_DECLARE_KERNEL(RunMoments, run_moments)

/// The largest of gains[c] x[c] and their mean over channels, for `n` positions; NaN where one is.
struct ChannelPool {
    const float* x = nullptr;
    std::int64_t channel_stride = 0, channels = 0, n = 0;
    const float* gains = nullptr;
    float *largest = nullptr, *mean = nullptr;
};
using PoolChannels = void (*)(const ChannelPool& p);
ATTENTA_DECLARE_KERNEL(PoolChannels, pool_channels)

/// o = x (factor · gates + shift); without gates their place is left out.
using GateRow = void (*)(const float* x, const float* gates, float factor, float shift, std::int64_t n, float* o);
ATTENTA_DECLARE_KERNEL(GateRow, gate_row)

/// o = x (σ((m − shift) · factor) + more); o may be m.
struct SigmoidGate {
    const float *x = nullptr, *m = nullptr;
    float shift = 0, factor = 1, more = 0;
    std::int64_t n = 0;
    float* o = nullptr;
};
using SigmoidGateRow = void (*)(const SigmoidGate& g);
ATTENTA_DECLARE_KERNEL(SigmoidGateRow, sigmoid_gate_row)

/// o = x (m / (|m over channels| + eps) + more) at up to `most` positions.
struct UnitGate {
    static constexpr std::int64_t most = 256;

    const float *x = nullptr, *m = nullptr;
    float* o = nullptr;
    std::int64_t x_stride = 0, m_stride = 0, o_stride = 0, channels = 0, n = 0;  ///< strides of channels
    float eps = 0, more = 0;
};
using UnitGatePositions = void (*)(const UnitGate& g);
ATTENTA_DECLARE_KERNEL(UnitGatePositions, unit_gate_positions)

/// Σ x²
using SquaredSum = float (*)(const float* x, std::int64_t n);
ATTENTA_DECLARE_KERNEL(SquaredSum, squared_sum)

/// to += x
using AddNumbers = void (*)(const float* x, std::int64_t n, float* to);
ATTENTA_DECLARE_KERNEL(AddNumbers, add_numbers)

}  // namespace gating

ATTENTA_END
