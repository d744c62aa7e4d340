// States of linear attentions, kept: a pool of slots for prefix caches and branches, and the states on a call's way, to which
// speculative decoding goes back.
//
//     StateSnapshots drafts({.last = 5});          // the state behind each of the last tokens of a call
//     state.snapshots = &drafts;
//     gated_delta_rule(x, o, state);               // of 5 tokens, say, of which 2 are accepted
//     drafts.rollback(2, state);                   // as if the call had ended there, to the bit
//     prefixes.copy(drafts.states(), {{drafts.slot(2)}}, {{free_slot}});
//
// A slot holds all that the next token reads: the matrix and its companions, of which matrices may be rounded to bfloat16. The
// working state is not rounded by being kept.
#pragma once

#include <attenta/core/config.hpp>
#include <attenta/core/dtype.hpp>
#include <attenta/core/linear_state.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

ATTENTA_BEGIN

/// The matrix [heads, dim, dim_v] of a state, and how many numbers its companions have.
struct StateShape {
    std::int64_t heads = 0, dim = 0, dim_v = 0, normalizer = 0, weight = 0, key_max = 0;

    static StateShape of(const LinearState& state);
    bool operator==(const StateShape&) const = default;
};

/// Slots that hold a state each, all of one shape, in one block of memory. States go in and out by slot index, a batch at a
/// time. Every function throws Error on slots out of range and on what is written to twice, before anything is written.
class StatePool {
public:
    StatePool() = default;
    /// Zeros. Matrices are stored as f32 or bf16, companions as floats. Throws Error on other types, sizes below 0, and more
    /// than memory can hold.
    StatePool(std::int64_t slots, const StateShape& shape, Dtype storage = Dtype::f32);

    std::int64_t slots() const { return slots_; }
    const StateShape& shape() const { return shape_; }
    Dtype storage() const { return storage_; }

    /// Slot slots[i] becomes states[i], each of the pool's shape.
    void store(std::span<const std::int64_t> slots, std::span<const LinearState* const> states);
    /// states[i] becomes slot slots[i]; it is empty or of the pool's shape. A slot may go to several states.
    void load(std::span<const std::int64_t> slots, std::span<LinearState* const> states) const;
    /// Slot to[i] becomes slot from[i] of `other`, a pool of the same shape.
    void copy(const StatePool& other, std::span<const std::int64_t> from, std::span<const std::int64_t> to);

    void store(std::int64_t slot, const LinearState& state);
    void load(std::int64_t slot, LinearState& state) const;

    /// Throws Error, in the name of `function`, unless these are slots of the pool, each given once.
    void require_distinct(const char* function, std::span<const std::int64_t> slots) const;

    // Memory, [slot] behind each other.
    void* matrices() { return half_.empty() ? static_cast<void*>(floats_.data()) : half_.data(); }
    float* normalizer(std::int64_t slot) { return normalizers_.data() + slot * shape_.normalizer; }
    float* key_max(std::int64_t slot) { return key_maxima_.data() + slot * shape_.key_max; }

private:
    friend class StateSnapshots;

    std::int64_t elements() const { return shape_.heads * shape_.dim * shape_.dim_v; }
    void require_slots(const char* function, std::span<const std::int64_t> slots, std::size_t states, bool once) const;
    void require_shape(const char* function, const LinearState& state) const;
    void read(std::int64_t slot, LinearState& state) const;

    std::int64_t slots_ = 0;
    StateShape shape_;
    Dtype storage_ = Dtype::f32;
    std::vector<float> floats_, normalizers_, weights_, key_maxima_;
    std::vector<bfloat16> half_;
};

/// Numbers of tokens behind which a call keeps its state, counted from the call's first. All that are set are kept.
struct SnapshotOptions {
    std::optional<std::int64_t> every = {};  ///< n, 2n, 3n, ..; at least 1
    std::vector<std::int64_t> at = {};       ///< these, of 0 .. T in any order; 0 is the state given
    std::optional<std::int64_t> last = {};   ///< T, T - 1, .., of at least 1 and at most T tokens
    Dtype storage = Dtype::f32;              ///< of the matrices: f32 or bf16
};

/// The states on the way of the latest call on a state that this is attached to. The state behind n tokens is that of a call on
/// these tokens alone, to the bit. A call whose tokens do not fit the options throws Error before anything is written, as does
/// one of a mechanism that has no states on its way. Memory is kept from call to call.
class StateSnapshots {
public:
    /// Throws Error on `every` and `last` below 1, `at` below 0, and other types of storage.
    explicit StateSnapshots(SnapshotOptions options);

    /// Ascending, each once. Slot i of `states` is that behind tokens()[i] tokens.
    std::span<const std::int64_t> tokens() const { return tokens_; }
    const StatePool& states() const { return states_; }
    /// The slot of the state behind `tokens` tokens. Throws Error where it was not kept.
    std::int64_t slot(std::int64_t tokens) const;
    /// The state becomes that behind `tokens` tokens, with all that belongs to it: what later ones did leaves no trace. Throws
    /// Error where it was not kept, and on a state of another shape; nothing is written then.
    void rollback(std::int64_t tokens, LinearState& state) const;

    // For calls: whether their tokens fit; memory for what they keep, which changes nothing yet; then the states are theirs.
    void check(const char* function, std::int64_t tokens) const;
    std::int64_t prepare(std::int64_t tokens, const StateShape& shape);
    StatePool& begin();
    float* key_max(std::int64_t slot) { return states_.key_max(slot); }

private:
    void list(std::int64_t tokens);

    SnapshotOptions options_;
    std::vector<std::int64_t> tokens_, next_tokens_;
    StatePool states_;
    std::optional<StatePool> next_states_;  ///< where the memory at hand is not enough
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/core/state_snapshots.inl>
#endif
