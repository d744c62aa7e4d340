// What a run of the scan hands to its loop: a job that all tasks share, and tasks.
#pragma once

#include <attenta/engine/common/tuning.hpp>
#include <attenta/engine/scan/request.hpp>

#include <cstddef>
#include <cstdint>

ATTENTA_BEGIN

namespace scan {

/// Where states on the way go: that after tokens[i] tokens, ascending, to slot i.
struct KeptStates {
    const std::int64_t* tokens = nullptr;
    std::int64_t count = 0;
    void* matrices = nullptr;      ///< [slot][state head][channel][column], float or bfloat16
    float* normalizers = nullptr;  ///< [slot][state head][channel]
    bool half = false;
};

/// What tasks share.
struct Job {
    Request r;
    Heads<float> o;
    LinearState* state = nullptr;
    float* normalizers = nullptr;  ///< [state_heads, dim] behind the last token; all tasks of a head need the old one
    std::int64_t state_heads = 0, out_heads = 0, dim = 0, dim_v = 0;
    bool prefetch_to_l1 = false;  ///< prefetch into L1; rows of a state then a few rows before their use, not a head

    /// States before each chunk of a round and behind the last, [chunk - round_begin][head][chunk_state_floats].
    float* chunk_states = nullptr;
    std::int64_t round_begin = 0, round_end = 0, chunk_state_floats = 0;

    KeptStates kept = {};
};

/// What a task does. With more threads than heads and columns employ, chunks of a round are worked on side by side:
/// first what each adds to the state and how it lets the state decay, then the states one after the other from these,
/// a few channels a task, and at last the outputs of each chunk. The arithmetic is that of `whole`.
enum class Pass : std::uint8_t { whole, chunk_states, prefix_states, outputs };

/// Value columns [column_begin, column_end) of state heads [head_begin, head_end) in chunks [chunk_begin, chunk_end):
/// columns do not depend on each other.
struct Task {
    std::int64_t head_begin = 0, head_end = 0, column_begin = 0, column_end = 0, chunk_begin = 0, chunk_end = 0;
    Pass pass = Pass::whole;
    std::int64_t channel_begin = 0, channel_end = 0;  ///< of `states`; multiples of 16, or the last
};

/// What the loop does with a task; `scratch` belongs to the slot.
using TaskFunction = void (*)(const Job& job, const Task& task, std::byte* scratch);

}  // namespace scan

ATTENTA_END
