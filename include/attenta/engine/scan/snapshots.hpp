// States on the way of a call, copied to the slots of its snapshots. A state is that of a shorter call to the bit: in front of
// a chunk it is at hand, and steps leave theirs one by one. Within a chunk a copy of the state takes up the chunk's first tokens:
// a few as steps, more with the rows that the whole chunk adds. See loop.hpp.
#pragma once

#include <attenta/core/dtype.hpp>
#include <attenta/engine/scan/chunk.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

/// Numbers of tokens, ascending, behind which the state is wanted, and the slot of the first.
struct WantedStates {
    const std::int64_t *first, *end;
    std::int64_t slot;
};

/// States wanted behind `begin` .. `end` tokens, both included.
inline WantedStates wanted_states(const KeptStates& kept, std::int64_t begin, std::int64_t end) {
    const std::int64_t *const all_end = kept.tokens + kept.count, *const first =
                                                                      std::lower_bound(kept.tokens, all_end, begin);
    return {first, std::upper_bound(first, all_end, end), first - kept.tokens};
}

inline void copy_numbers(const float* from, std::int64_t n, float* to) { std::copy_n(from, n, to); }
inline void copy_numbers(const float* from, std::int64_t n, bfloat16* to) {
    for (std::int64_t i = 0; i < n; ++i) to[i] = bfloat16(from[i]);
}

/// The task's columns of channels begin .. end - 1 of the head at hand.
template <class T, class Arch>
void keep_matrix(const Chunk<Arch>& c, T* slot, std::int64_t begin, std::int64_t end) {
    T* const to = slot + c.head * c.dim * c.job.dim_v + c.column;
    if (c.in_place) {
        for (std::int64_t d = begin; d < end; ++d)
            copy_numbers(c.job.state->of(c.head) + d * c.job.dim_v + c.column, c.columns, to + d * c.job.dim_v);
        return;
    }
    // Row by row: a slot is written in the order of memory.
    for (std::int64_t d = begin; d < end; ++d)
        for (std::int64_t p = 0; p < c.panels; ++p)
            copy_numbers(c.state_panel(p) + d * c.W, std::min(c.W, c.columns - p * c.W),
                         to + d * c.job.dim_v + p * c.W);
}

template <class Arch>
void keep_state(const Chunk<Arch>& c, std::int64_t slot, std::int64_t begin, std::int64_t end) {
    const KeptStates& kept = c.job.kept;
    const std::int64_t matrix = slot * c.job.state_heads * c.dim * c.job.dim_v;
    if (kept.half)
        keep_matrix(c, static_cast<bfloat16*>(kept.matrices) + matrix, begin, end);
    else
        keep_matrix(c, static_cast<float*>(kept.matrices) + matrix, begin, end);
    if (c.r.normalizer && c.column == 0)
        std::copy(c.scratch.normalizer + begin, c.scratch.normalizer + end,
                  kept.normalizers + (slot * c.job.state_heads + c.head) * c.dim + begin);
}

/// While it lives, the state at hand is a copy.
template <class Arch>
class StateCopy {
public:
    explicit StateCopy(Chunk<Arch>& c) : x_(c.scratch), state_(x_.state), normalizer_(x_.normalizer) {
        x_.state = x_.replayed_state;
        x_.normalizer = x_.replayed_normalizer;
        std::copy_n(state_, x_.stride * x_.width, x_.state);
        std::copy_n(normalizer_, c.r.normalizer ? c.stride : 0, x_.normalizer);
    }
    ~StateCopy() {
        x_.state = state_;
        x_.normalizer = normalizer_;
    }
    StateCopy(const StateCopy&) = delete;
    StateCopy& operator=(const StateCopy&) = delete;

private:
    Scratch& x_;
    float *const state_, *const normalizer_;
};

/// The state at hand, if it is wanted behind `tokens` tokens.
template <class Arch>
void keep_if_wanted(const Chunk<Arch>& c, std::int64_t tokens) {
    if (c.job.kept.count == 0) return;
    const WantedStates wanted = wanted_states(c.job.kept, tokens, tokens);
    if (wanted.first != wanted.end) keep_state(c, wanted.slot, 0, c.dim);
}

}  // namespace scan

ATTENTA_END
