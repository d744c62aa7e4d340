// What a task of the elementwise loop gets.
#pragma once

#include <attenta/engine/elementwise/request.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace elementwise {

/// Blocks are a multiple of any vector wide but for the last of a head; scratch rows are that wide always.
inline constexpr std::int64_t widest_vector = 16;

struct Job {
    Request r;
    Heads<float> o;
    float* state = nullptr;              ///< [slots, heads, states, channels]
    Sequences sequences;                 ///< without starts: one
    std::int64_t count = 1;              ///< of sequences
    std::int64_t width = 0, blocks = 0;  ///< channels of a block, blocks of a head
    std::int64_t together = 1;           ///< blocks of a head that a recurrence takes through the tokens in turn
    std::int64_t block_bytes = 0;        ///< of a block's scratch

    std::int64_t all_blocks() const { return count * o.heads * blocks; }
};

}  // namespace elementwise

ATTENTA_END
