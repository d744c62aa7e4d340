// The state of a linear attention: what is left of the past. A value: create, copy, save, load, continue.
#pragma once

#include <attenta/core/config.hpp>
#include <attenta/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

ATTENTA_BEGIN

class StateSnapshots;

/// A pointer that stays with its object: copies have none, assignment leaves it, moving into a new object takes it along.
template <class T>
class Attached {
public:
    Attached() = default;
    Attached(const Attached&) {}
    Attached(Attached&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    Attached& operator=(const Attached&) { return *this; }
    Attached& operator=(Attached&&) noexcept { return *this; }
    Attached& operator=(T* object) {
        object_ = object;
        return *this;
    }
    T* get() const { return object_; }
    T* operator->() const { return object_; }
    explicit operator bool() const { return object_ != nullptr; }

private:
    T* object_ = nullptr;
};

/// Per state head a matrix [dim, dim_v], key index before value index, and what some mechanisms need beside it. Default
/// constructed it is empty: the first call makes it zeros of the right shape. Every call reads it as the past and
/// leaves it at the end of its tokens.
struct LinearState {
    std::int64_t heads = 0, dim = 0, dim_v = 0;
    std::vector<float> matrix;      ///< [heads, dim, dim_v]
    std::vector<float> normalizer;  ///< [heads, dim], the sum of (decayed) keys; where the mechanism has a denominator
    std::vector<float> weight;      ///< [heads], the sum of decays, or a gate that is still to act
    std::vector<float> key_max;     ///< [heads] or [heads, dim], the stabiliser of the keys

    /// Where calls on this state leave the states on their way (core/state_snapshots.hpp); null: nowhere. Borrowed.
    Attached<StateSnapshots> snapshots;

    LinearState() = default;
    /// Zeros. Throws Error on sizes below 0 and on more bytes than 64 bits can count.
    LinearState(std::int64_t state_heads, std::int64_t keys, std::int64_t values);

    bool empty() const { return matrix.empty(); }
    float* of(std::int64_t head) { return matrix.data() + head * dim * dim_v; }
    const float* of(std::int64_t head) const { return matrix.data() + head * dim * dim_v; }

    /// A flat copy: sizes, then all arrays, in this machine's byte order.
    std::size_t saved_bytes() const;
    /// `to` holds saved_bytes().
    void save(std::span<std::byte> to) const;
    /// Throws Error if `from` is not what `save` wrote.
    static LinearState load(std::span<const std::byte> from);
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/core/linear_state.inl>
#endif
