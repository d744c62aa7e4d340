// The elementwise loop: recurrences whose channels do not mix.
//
//     s_t[c] = f(s_{t-1}[c], x_t[c], ...),    o_t[c] = h(s_t[c], x_t[c], ...)          a few states s for each channel c
//
// A task is a few neighbouring blocks of a head's channels over all tokens of a sequence: states and constants of a block stay
// in L1, blocks go through some tokens in turn, so that rows are read whole and where they lie, and vectors go across channels
// (elementwise/loop.hpp). Tokens follow each other, so that one token
// with a state is the decode step and a sequence may be cut anywhere without changing a bit. What a mechanism brings is a
// task function, a kernel that says what a token does to a vector of channels.
//
// Mechanisms on it: mamba, hgrn, rwkv4_wkv, bi_wkv, causal_conv, damped_ema.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/linear_state.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

ATTENTA_BEGIN

namespace elementwise {

struct Job;

/// Blocks begin .. end - 1 of all sequences, heads and channels.
struct Task {
    std::int64_t begin = 0, end = 0;
};
using TaskFunction = void (*)(const Job& job, const Task& task, std::byte* scratch);

/// What a mechanism asks of the engine. Everything is borrowed. Views without data are not given.
struct Request {
    const char* function = "elementwise";
    TaskFunction task = nullptr;
    std::array<Heads<const float>, 4> rows =
        {};                         ///< [heads, tokens, channels] of what tokens bring, the first one always
    std::int64_t states = 0;        ///< numbers of a state for each channel
    std::int64_t scratch_rows = 0;  ///< of floats for each channel of a block, that the task needs beside the states
    std::int64_t memory_rows = 0;   ///< more of them, which pass through the caches
    std::int64_t work = 1;          ///< of a token and channel, in exponentials: short tasks are joined
    bool backwards = false;         ///< of a recurrence: from the last token to the first
    const void* parameters = nullptr;
};

/// Sequences behind each other in the tokens of one call: sequence s has tokens starts[s] .. starts[s + 1] - 1 and the state
/// `slots[s]` of a pool [slots, heads, states, channels].
struct Sequences {
    std::span<const std::int64_t> starts = {}, slots = {};
    std::span<float> pool = {};
};

/// Inputs, output and state fit each other; throws Error. `check_data`: no NaN, no gate above 0.
void check(const Request& request, std::span<const Input> inputs, const LetterSizes& known, Heads<float> o,
           const LinearState& state, bool check_data);
/// The same of sequences with states in a pool. An empty sequence leaves its state alone.
void check(const Request& request, std::span<const Input> inputs, const LetterSizes& known, Heads<float> o,
           const Sequences& sequences, bool check_data, Context& context);

/// Memory for a run and, where the state is empty, zeros: what may fail, before anything is written.
void begin(const Request& request, LinearState& state, Context& context);
/// Runs a checked request, whose first state is `state`, [heads, states, channels]; null: zeros, which nobody keeps.
void run(const Request& request, Heads<float> o, float* state, Context& context);
void run(const Request& request, Heads<float> o, const Sequences& sequences, Context& context);

}  // namespace elementwise

ATTENTA_END
