// States between the chunks of a round, which are worked on side by side. See Pass in engine/scan/job.hpp.
#pragma once

#include <attenta/engine/scan/snapshots.hpp>
#include <attenta/engine/scan/state.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

/// Before chunk i of the head at hand.
template <class Arch>
ChunkState chunk_state(const Chunk<Arch>& c, std::int64_t i) {
    const Job& job = c.job;
    return {job.chunk_states + ((i - job.round_begin) * job.state_heads + c.head) * job.chunk_state_floats, job};
}

/// A chunk of a round reads its own state, or leaves what it adds where the next one's will be.
template <class Arch>
void select_chunk_state(Chunk<Arch>& c, std::int64_t i) {
    const ChunkState own = chunk_state(c, c.task.pass == Pass::chunk_states ? i + 1 : i);
    c.scratch.state = own.state;
    c.scratch.normalizer = own.normalizer;
}

/// next += decay · now
template <class Arch>
ATTENTA_ALWAYS_INLINE void advance_state(simd::Batch<Arch> decay, const float* now, float* next) {
    simd::fma<Arch>(decay, simd::load<Arch>(now), simd::load<Arch>(next)).store_unaligned(next);
}

/// Some channels of the round's states, from what its chunks add.
template <class Arch>
void prefix_states(Chunk<Arch>& c) {
    const Job& job = c.job;
    const std::int64_t begin = c.task.channel_begin, end = c.task.channel_end, lanes_end = round_up(end, c.L);
    c.head = c.first_head;
    const ChunkState first = chunk_state(c, job.round_begin), last = chunk_state(c, job.round_end);
    c.scratch.state = first.state;
    load_state(c, begin, end);
    float* const z = c.r.normalizer ? job.state->normalizer.data() + c.head * c.dim : nullptr;
    if (z) {
        std::copy(z + begin, z + end, first.normalizer + begin);
        std::fill(first.normalizer + end, first.normalizer + lanes_end, 0.f);
    }
    for (std::int64_t i = job.round_begin; i < job.round_end; ++i) {
        const ChunkState now = chunk_state(c, i), next = chunk_state(c, i + 1);
        for (std::int64_t p = 0; p < c.panels; ++p) {
            const std::int64_t panel = c.state_panel(p) - c.scratch.state;
            for (std::int64_t d = begin; d < end; ++d)
                for (std::int64_t n = panel + d * c.W; n < panel + (d + 1) * c.W; n += c.L)
                    advance_state<Arch>(simd::Batch<Arch>(next.decay[d]), now.state + n, next.state + n);
        }
        for (std::int64_t d = begin; z && d < lanes_end; d += c.L)
            advance_state<Arch>(simd::load<Arch>(next.decay + d), now.normalizer + d, next.normalizer + d);
    }
    c.scratch.state = last.state;
    store_state(c, begin, end);
    if (z) std::copy(last.normalizer + begin, last.normalizer + end, z + begin);
    if (job.kept.count == 0 || job.round_end < Chunks(c.r).all) return;
    const WantedStates wanted = wanted_states(job.kept, c.r.k.tokens, c.r.k.tokens);
    c.scratch.normalizer = last.normalizer;
    if (wanted.first != wanted.end) keep_state(c, wanted.slot, begin, end);
}

}  // namespace scan

ATTENTA_END
