#pragma once

#include <attenta/core/error.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/bytes.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/tuning.hpp>
#include <attenta/engine/elementwise/job.hpp>
#include <attenta/engine/elementwise/request.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace elementwise {

namespace checks {

using namespace ATTENTA_ABI::checks;

inline void check_tensors(const Request& r, std::span<const Input> inputs, const LetterSizes& known, Heads<float> o) {
    const char* f = r.function;
    check_memory(f, "o", o);
    check_given(f, inputs);
    for (const Input& in : inputs) {
        const Heads<const float>& x = in.view;
        if (in.given() && (x.heads < 1 || x.tokens < 1 || x.dim < 1))
            fail(f, std::string(in.name) + " is " + shape(x.heads, x.tokens, x.dim) + ", needs at least 1 of each");
    }
    check_shapes(f, inputs, known);
    const Heads<const float>& x = r.rows[0];
    check_output(f, x.heads, x.tokens, x.dim, o);
    check_pointer(f, "o", o.data, sizeof(float), true);
    if (elements(x.heads, r.states, x.dim) > most_elements)
        fail(f, "state is " + shape(x.heads, r.states, x.dim) + ", memory does not hold as many elements");
}

/// Output and state, which are written, lie apart from each other and from all inputs.
inline void check_memory_apart(const Request& r, std::span<const Input> inputs, Heads<float> o, Bytes state) {
    const char* f = r.function;
    const Bytes out = bytes_of(o);
    if (out.meets(state)) fail(f, "o overlaps state, needs memory of its own");
    for (const Input& in : inputs) {
        if (!in.given()) continue;
        if (out.meets(bytes_of(in.view))) fail(f, std::string("o overlaps ") + in.name + ", needs memory of its own");
        if (state.meets(bytes_of(in.view)))
            fail(f, std::string("state overlaps ") + in.name + ", needs memory of its own");
    }
}

/// Which slots of a pool a call has met, kept by its context.
struct SeenSlots {
    std::vector<bool> seen;
};

inline void check_sequences(const Request& r, const Sequences& s, Context& context) {
    const char* f = r.function;
    const Heads<const float>& x = r.rows[0];
    check_starts(f, s.starts, s.slots, x.tokens);
    const std::int64_t of_slot = elements(x.heads, r.states, x.dim), pool = static_cast<std::int64_t>(s.pool.size());
    if (of_slot == 0) return;  // nothing is kept
    std::vector<bool>& seen = context.kept<SeenSlots>().seen;
    seen.assign(static_cast<std::size_t>(pool / of_slot), false);
    for (const std::int64_t slot : s.slots) {
        if (slot < 0 || slot >= pool / of_slot)
            fail(f, "slots has " + text(slot) + ", needs a number below the " + text(pool / of_slot) + " of the pool");
        if (seen[static_cast<std::size_t>(slot)]) fail(f, "slots has " + text(slot) + " twice, needs it once");
        seen[static_cast<std::size_t>(slot)] = true;
    }
}

}  // namespace checks

ATTENTA_INLINE void check(const Request& r, std::span<const Input> inputs, const LetterSizes& known, Heads<float> o,
                          const LinearState& s, bool check_data) {
    using namespace checks;
    check_tensors(r, inputs, known, o);
    const Heads<const float>& x = r.rows[0];
    const auto size = static_cast<std::int64_t>(s.matrix.size());
    if (!s.empty() && (s.heads != x.heads || s.dim != r.states || s.dim_v != x.dim))
        fail(r.function, "state is " + shape(s.heads, s.dim, s.dim_v) + ", needs " + shape(x.heads, r.states, x.dim));
    if (!s.empty() && size != elements(s.heads, s.dim, s.dim_v))
        fail(r.function, "state has " + text(size) + " elements, needs " + text(elements(s.heads, s.dim, s.dim_v)));
    check_memory_apart(r, inputs, o, bytes_of(std::span(s.matrix)));
    if (s.snapshots) fail(r.function, "state.snapshots is set, needs none: states on the way of a call are not kept");
    if (!check_data) return;
    check_numbers(r.function, inputs);
    check_numbers(r.function, "state", hnd(s.matrix.data(), 1, size, 1), false);
}

ATTENTA_INLINE void check(const Request& r, std::span<const Input> inputs, const LetterSizes& known, Heads<float> o,
                          const Sequences& s, bool check_data, Context& context) {
    using namespace checks;
    check_tensors(r, inputs, known, o);
    check_sequences(r, s, context);
    check_pointer(r.function, "pool", s.pool.data(), sizeof(float), !s.pool.empty());
    check_memory_apart(r, inputs, o, bytes_of(s.pool));
    if (!check_data) return;
    check_numbers(r.function, inputs);
    const auto size = static_cast<std::int64_t>(s.pool.size());
    check_numbers(r.function, "pool", hnd(static_cast<const float*>(s.pool.data()), 1, size, 1), false);
}

/// The blocks of a call, its tasks and their scratch.
class Run {
public:
    Run(const Request& r, Heads<float> o, const Sequences& sequences, float* state, Context& context)
        : executor_(context.executor()) {
        job_.r = r;
        job_.o = o;
        job_.sequences = sequences;
        job_.state = state;
        if (!sequences.starts.empty()) job_.count = static_cast<std::int64_t>(sequences.slots.size());
        // Wide blocks sweep memory in its order; they are narrower where threads would be idle. Channels do not meet: their
        // numbers are the same in any block.
        const std::int64_t threads = executor_.concurrency(), rows = r.states + r.scratch_rows,
                           all = saturating::multiply(o.dim, saturating::multiply(o.heads, job_.count)),
                           shared = threads == 1 ? widest_block
                                                 : std::clamp(all / (2 * threads), narrowest_block, widest_block),
                           most = std::clamp(block_floats / rows, widest_vector, shared),
                           least_blocks = ceil_div(o.dim, most / widest_vector * widest_vector);
        job_.width = round_up(ceil_div(o.dim, least_blocks), widest_vector);
        job_.blocks = ceil_div(o.dim, job_.width);
        job_.together = std::min(most_together, ceil_div(job_.blocks, ceil_div(o.dim, shared)));
        job_.block_bytes = round_up((rows + r.memory_rows) * job_.width * static_cast<std::int64_t>(sizeof(float)), 64);
        scratch_bytes_ = saturating::multiply(job_.block_bytes, job_.together);
        scratch_ = context.workspace().reserve(static_cast<std::size_t>(saturating::multiply(scratch_bytes_, threads)));
    }

    void run() const {
        const std::int64_t all = job_.all_blocks();
        if (all == 0) return;
        const std::int64_t tokens = ceil_div(job_.o.tokens, job_.count),
                           of_block = saturating::multiply(saturating::multiply(tokens, job_.width), job_.r.work),
                           blocks = std::max(job_.together, ceil_div(task_work, of_block));
        executor_.parallel_for(ceil_div(all, blocks), [&](std::int64_t i, int slot) {
            job_.r.task(job_, {i * blocks, std::min(all, (i + 1) * blocks)}, scratch_ + slot * scratch_bytes_);
        });
    }

private:
    Executor& executor_;
    Job job_;
    std::int64_t scratch_bytes_ = 0;
    std::byte* scratch_ = nullptr;
};

ATTENTA_INLINE void begin(const Request& r, LinearState& state, Context& context) {
    const Heads<const float>& x = r.rows[0];
    const Run reserved(r, {nullptr, x.heads, x.tokens, x.dim}, {}, nullptr, context);
    if (state.empty()) {
        LinearState zeros(x.heads, r.states, x.dim);
        zeros.normalizer.swap(state.normalizer);
        zeros.weight.swap(state.weight);
        zeros.key_max.swap(state.key_max);
        state = std::move(zeros);
    }
}

ATTENTA_INLINE void run(const Request& r, Heads<float> o, float* state, Context& context) {
    Run(r, o, {}, state, context).run();
}

ATTENTA_INLINE void run(const Request& r, Heads<float> o, const Sequences& sequences, Context& context) {
    Run(r, o, sequences, sequences.pool.data(), context).run();
}

}  // namespace elementwise

ATTENTA_END
