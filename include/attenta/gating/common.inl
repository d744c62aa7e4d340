#pragma once

#include <attenta/engine/dense/maps.hpp>
#include <attenta/gating/common.hpp>
#include <attenta/gating/kernels.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

ATTENTA_INLINE void apply_gate(Heads<const float> x, const MapGate& gate, Heads<float> o, Context& context) {
    const dense::MapRuns runs = dense::runs_of(x, o);
    context.executor().parallel_for(x.heads * runs.count, [&](std::int64_t i, int) {
        const std::int64_t c = i / runs.count, r = i % runs.count;
        const float* const positions = gate.positions ? gate.positions + r * runs.length : nullptr;
        const float of_channel = gate.channels ? gate.channels[c] : gate.sum ? 0.f : 1.f;
        const bool adds = gate.sum || !positions;
        gating::gate_row()(x.row(c, r), positions, adds ? 1.f : of_channel, gate.more + (adds ? of_channel : 0.f),
                           runs.length, o.row(c, r));
    });
}

}  // namespace detail

ATTENTA_END
