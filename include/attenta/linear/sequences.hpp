// A batch of sequences for any linear mechanism, prefill and decode mixed: what a serving step has.
//
//     StatePool pool(256, StateShape::of(state));
//     const std::vector<std::int64_t> starts = {0, 1, 2, 514}, slots = {7, 31, 2};    // two steps and a prompt
//     linear_sequences<gated_delta_rule>(x, o, pool, {starts, slots});
//
// Slots of a new pool are zeros, which is no past for most mechanisms. Those with a running maximum of keys want the maximum
// that their headers name: a new sequence of log_normal, performer or rwkv4_wkv is begun alone, and its state stored.
//
// Each sequence gives the bits that it gives alone. A pool in bfloat16 rounds its states between calls, not within them.
#pragma once

#include <attenta/core/state_snapshots.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/inputs.hpp>
#include <attenta/linear/common.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

ATTENTA_BEGIN

/// Sequence s has the tokens starts[s] .. starts[s + 1] - 1 of the call's, and its past in slot slots[s] of a pool.
struct StateSequences {
    std::span<const std::int64_t> starts, slots;
};

namespace detail {

/// Leaves those of a call's tokens that are a sequence's. What has no tokens belongs to all sequences, as do numbers of other
/// tokens: [Hkv, TM, D].
struct TakeTokens {
    std::int64_t begin, count, of;

    void operator()(const char* name, Heads<const float>& x, std::string_view shapes, unsigned = 0) const {
        if (!x.data || !counts_tokens(ShapeLetters::last_of(shapes).tokens)) return;
        const bool may_have_none = shapes.find(']') + 1 < shapes.size();
        if (x.tokens == of)
            x = x.slice(begin, count);
        else if (!may_have_none || x.tokens != 1)
            refuse(name, x.tokens);
    }
    /// [Tk, D]
    void operator()(const char* name, Matrices<const float>& x, std::string_view shapes, unsigned = 0) const {
        if (!x || !counts_tokens(ShapeLetters::last_of(shapes).heads)) return;
        if (x.rows != of) refuse(name, x.rows);
        x.data += begin * x.row_stride;
        x.rows = count;
    }
    /// [Tk]
    template <class T>
    void operator()(const char* name, std::span<const T>& x, std::string_view shapes, unsigned = 0) const {
        if (x.empty() || !counts_tokens(ShapeLetters::last_of(shapes).heads)) return;
        if (std::ssize(x) != of) refuse(name, std::ssize(x));
        x = x.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
    }
    void operator()(const char*, const auto&, std::string_view, unsigned = 0) const {}

private:
    static bool counts_tokens(std::string_view letter) { return letter == "T" || letter == "Tq" || letter == "Tk"; }
    [[noreturn]] void refuse(const char* name, std::int64_t tokens) const {
        fail("linear_sequences",
             std::string(name) + " has " + std::to_string(tokens) + " tokens, o has " + std::to_string(of));
    }
};

}  // namespace detail

/// The mechanism's function with these inputs, o and options for each sequence; a state becomes what its slot holds, and goes
/// back. Sequences without tokens leave theirs alone. `options` is one for all or [sequences], as positions want it. Throws
/// Error on sequences, slots and shapes that do not fit; nothing is written then. With `check_data` a sequence that is refused
/// ends the batch behind those before it.
template <auto mechanism>
void linear_sequences(const typename LinearFunction<mechanism>::Inputs& x, Heads<float> o, StatePool& pool,
                      const StateSequences& sequences,
                      std::span<const typename LinearFunction<mechanism>::Options> options,
                      Context& context = default_context()) {
    using Inputs = typename LinearFunction<mechanism>::Inputs;
    checks::check_starts("linear_sequences", sequences.starts, sequences.slots, o.tokens);
    pool.require_distinct("linear_sequences", sequences.slots);
    if (options.size() != 1 && options.size() != sequences.slots.size())
        fail("linear_sequences", "there are " + std::to_string(options.size()) +
                                     " options, needs one or one for each of " +
                                     std::to_string(sequences.slots.size()) + " sequences");
    LinearState state;
    for (std::size_t s = 0; s < sequences.slots.size(); ++s) {
        const std::int64_t begin = sequences.starts[s], count = sequences.starts[s + 1] - begin;
        if (count == 0) continue;
        Inputs part = x;
        Inputs::list(detail::TakeTokens{begin, count, o.tokens}, part);
        pool.load(sequences.slots[s], state);
        mechanism(part, o.slice(begin, count), state, options[options.size() == 1 ? 0 : s], context);
        pool.store(sequences.slots[s], state);
    }
}

template <auto mechanism>
void linear_sequences(const typename LinearFunction<mechanism>::Inputs& x, Heads<float> o, StatePool& pool,
                      const StateSequences& sequences, const typename LinearFunction<mechanism>::Options& options = {},
                      Context& context = default_context()) {
    linear_sequences<mechanism>(x, o, pool, sequences, std::span(&options, 1), context);
}

ATTENTA_END
