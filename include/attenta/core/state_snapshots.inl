#pragma once

#include <attenta/core/checked_int.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/state_snapshots.hpp>

#include <algorithm>
#include <string>
#include <utility>

ATTENTA_BEGIN

namespace detail {

inline std::string text_of(const StateShape& s) {
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    std::string all =
        std::string("[").append(text(s.heads)).append(", ").append(text(s.dim)).append(", ").append(text(s.dim_v));
    return all.append("] with companions of ")
        .append(text(s.normalizer))
        .append(", ")
        .append(text(s.weight))
        .append(" and ")
        .append(text(s.key_max))
        .append(" numbers");
}

inline void require_storage(const char* function, Dtype storage) {
    if (storage == Dtype::f32 || storage == Dtype::bf16) return;
    fail(function, std::string("storage is ") + name(storage) + ", needs f32 or bf16");
}

/// Companions of a slot.
inline void copy_slot(const std::vector<float>& from, std::int64_t slot, std::int64_t n, std::vector<float>& to,
                      std::int64_t to_slot) {
    std::copy_n(from.data() + slot * n, n, to.data() + to_slot * n);
}

}  // namespace detail

ATTENTA_INLINE StateShape StateShape::of(const LinearState& s) {
    const auto size = [](const std::vector<float>& x) { return static_cast<std::int64_t>(x.size()); };
    return {s.heads, s.dim, s.dim_v, size(s.normalizer), size(s.weight), size(s.key_max)};
}

ATTENTA_INLINE StatePool::StatePool(std::int64_t slots, const StateShape& shape, Dtype storage)
    : slots_(slots), shape_(shape), storage_(storage) {
    detail::require_storage("StatePool", storage);
    const auto size = [&](const CheckedInt& each) {
        const CheckedInt n = each * slots, bytes = n * sizeof(float);
        if (slots < 0 || each.value() < 0 || !bytes.valid())
            fail("StatePool", std::to_string(slots) + " slots of states " + detail::text_of(shape) +
                                  ", needs sizes of at least 0 and a product that memory can hold");
        return static_cast<std::size_t>(n.value());
    };
    const bool negative = std::min({shape.heads, shape.dim, shape.dim_v}) < 0;
    const std::size_t matrices = size(negative ? CheckedInt(-1) : CheckedInt(shape.heads) * shape.dim * shape.dim_v);
    normalizers_.resize(size(shape.normalizer));
    weights_.resize(size(shape.weight));
    key_maxima_.resize(size(shape.key_max));
    if (storage == Dtype::bf16)
        half_.resize(matrices);
    else
        floats_.resize(matrices);
}

ATTENTA_INLINE void StatePool::require_distinct(const char* function, std::span<const std::int64_t> slots) const {
    require_slots(function, slots, slots.size(), true);
}

ATTENTA_INLINE void StatePool::require_slots(const char* function, std::span<const std::int64_t> slots,
                                             std::size_t states, bool once) const {
    if (slots.size() != states)
        fail(function, "there are " + std::to_string(states) + " states, " + std::to_string(slots.size()) + " slots");
    for (const std::int64_t slot : slots)
        if (slot < 0 || slot >= slots_)
            fail(function, "slot is " + std::to_string(slot) + ", needs one of the " + std::to_string(slots_));
    for (std::size_t i = 1; once && i < slots.size(); ++i)
        if (std::find(slots.begin(), slots.begin() + static_cast<std::ptrdiff_t>(i), slots[i]) !=
            slots.begin() + static_cast<std::ptrdiff_t>(i))
            fail(function, "slot " + std::to_string(slots[i]) + " is given twice, needs distinct slots");
}

ATTENTA_INLINE void StatePool::require_shape(const char* function, const LinearState& state) const {
    const StateShape shape = StateShape::of(state);
    if (shape != shape_ || state.matrix.size() != static_cast<std::size_t>(elements()))
        fail(function, "state is " + detail::text_of(shape) + ", needs " + detail::text_of(shape_));
}

ATTENTA_INLINE void StatePool::store(std::span<const std::int64_t> slots, std::span<const LinearState* const> states) {
    require_slots("StatePool::store", slots, states.size(), true);
    for (const LinearState* state : states) {
        if (!state) fail("StatePool::store", "states has a null, needs states");
        require_shape("StatePool::store", *state);
    }
    for (std::size_t i = 0; i < slots.size(); ++i) {
        const LinearState& s = *states[i];
        const std::int64_t slot = slots[i];
        if (storage_ == Dtype::bf16)
            std::transform(s.matrix.begin(), s.matrix.end(), half_.begin() + slot * elements(),
                           [](float x) { return bfloat16(x); });
        else
            std::copy(s.matrix.begin(), s.matrix.end(), floats_.begin() + slot * elements());
        detail::copy_slot(s.normalizer, 0, shape_.normalizer, normalizers_, slot);
        detail::copy_slot(s.weight, 0, shape_.weight, weights_, slot);
        detail::copy_slot(s.key_max, 0, shape_.key_max, key_maxima_, slot);
    }
}

/// The state has the sizes.
ATTENTA_INLINE void StatePool::read(std::int64_t slot, LinearState& s) const {
    if (storage_ == Dtype::bf16)
        std::copy_n(half_.begin() + slot * elements(), elements(), s.matrix.begin());
    else
        std::copy_n(floats_.begin() + slot * elements(), elements(), s.matrix.begin());
    detail::copy_slot(normalizers_, slot, shape_.normalizer, s.normalizer, 0);
    detail::copy_slot(weights_, slot, shape_.weight, s.weight, 0);
    detail::copy_slot(key_maxima_, slot, shape_.key_max, s.key_max, 0);
}

ATTENTA_INLINE void StatePool::load(std::span<const std::int64_t> slots, std::span<LinearState* const> states) const {
    require_slots("StatePool::load", slots, states.size(), false);
    std::size_t empty = 0;
    for (std::size_t i = 0; i < states.size(); ++i) {
        if (!states[i]) fail("StatePool::load", "states has a null, needs states");
        for (std::size_t j = 0; j < i; ++j)
            if (states[j] == states[i]) fail("StatePool::load", "a state is given twice, needs distinct states");
        if (states[i]->empty())
            ++empty;
        else
            require_shape("StatePool::load", *states[i]);
    }
    std::vector<LinearState> fresh;
    fresh.reserve(empty);
    for (std::size_t i = 0; i < empty; ++i) {
        LinearState& s = fresh.emplace_back(shape_.heads, shape_.dim, shape_.dim_v);
        s.normalizer.resize(static_cast<std::size_t>(shape_.normalizer));
        s.weight.resize(static_cast<std::size_t>(shape_.weight));
        s.key_max.resize(static_cast<std::size_t>(shape_.key_max));
    }
    for (std::size_t i = 0; i < states.size(); ++i) {
        if (states[i]->empty() && !fresh.empty()) {
            *states[i] = std::move(fresh.back());
            fresh.pop_back();
        }
        read(slots[i], *states[i]);
    }
}

ATTENTA_INLINE void StatePool::copy(const StatePool& other, std::span<const std::int64_t> from,
                                    std::span<const std::int64_t> to) {
    const char* const f = "StatePool::copy";
    other.require_slots(f, from, to.size(), false);
    require_slots(f, to, to.size(), true);
    if (other.shape_ != shape_)
        fail(f, "other holds states " + detail::text_of(other.shape_) + ", needs " + detail::text_of(shape_));
    // Within one pool a slot may be read and written: states go by way of a copy of what is read.
    const bool within = &other == this && std::any_of(from.begin(), from.end(), [&](std::int64_t slot) {
        return std::find(to.begin(), to.end(), slot) != to.end();
    });
    if (within) {
        StatePool read(static_cast<std::int64_t>(from.size()), shape_, storage_);
        std::vector<std::int64_t> all(from.size());
        for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
        read.copy(*this, from, all);
        return copy(read, all, to);
    }
    for (std::size_t i = 0; i < from.size(); ++i) {
        const std::int64_t n = elements(), a = from[i] * n, b = to[i] * n;
        if (storage_ == other.storage_ && storage_ == Dtype::bf16)
            std::copy_n(other.half_.begin() + a, n, half_.begin() + b);
        else if (storage_ == other.storage_)
            std::copy_n(other.floats_.begin() + a, n, floats_.begin() + b);
        else if (storage_ == Dtype::bf16)
            std::transform(other.floats_.begin() + a, other.floats_.begin() + a + n, half_.begin() + b,
                           [](float x) { return bfloat16(x); });
        else
            std::copy_n(other.half_.begin() + a, n, floats_.begin() + b);
        detail::copy_slot(other.normalizers_, from[i], shape_.normalizer, normalizers_, to[i]);
        detail::copy_slot(other.weights_, from[i], shape_.weight, weights_, to[i]);
        detail::copy_slot(other.key_maxima_, from[i], shape_.key_max, key_maxima_, to[i]);
    }
}

ATTENTA_INLINE void StatePool::store(std::int64_t slot, const LinearState& state) {
    const LinearState* const one = &state;
    store({&slot, 1}, {&one, 1});
}
ATTENTA_INLINE void StatePool::load(std::int64_t slot, LinearState& state) const {
    LinearState* const one = &state;
    load({&slot, 1}, {&one, 1});
}

ATTENTA_INLINE StateSnapshots::StateSnapshots(SnapshotOptions options) : options_(std::move(options)) {
    const auto require = [](const char* what, std::int64_t n, std::int64_t least) {
        if (n >= least) return;
        fail("StateSnapshots",
             std::string(what) + " is " + std::to_string(n) + ", needs at least " + std::to_string(least));
    };
    if (options_.every) require("every", *options_.every, 1);
    if (options_.last) require("last", *options_.last, 1);
    for (const std::int64_t n : options_.at) require("at", n, 0);
    detail::require_storage("StateSnapshots", options_.storage);
}

ATTENTA_INLINE std::int64_t StateSnapshots::slot(std::int64_t tokens) const {
    const auto found = std::lower_bound(tokens_.begin(), tokens_.end(), tokens);
    if (found == tokens_.end() || *found != tokens)
        fail("StateSnapshots", "tokens is " + std::to_string(tokens) + ", needs one of the " +
                                   std::to_string(tokens_.size()) + " numbers of tokens behind which a state was kept");
    return found - tokens_.begin();
}

ATTENTA_INLINE void StateSnapshots::rollback(std::int64_t tokens, LinearState& state) const {
    states_.load(slot(tokens), state);
}

ATTENTA_INLINE void StateSnapshots::check(const char* function, std::int64_t tokens) const {
    const auto refuse = [&](const char* what, std::int64_t n) {
        fail(function, std::string("state.snapshots keeps ") + what + " " + std::to_string(n) + ", needs at most the " +
                           std::to_string(tokens) + " tokens of the call");
    };
    if (options_.last && *options_.last > tokens) refuse("last", *options_.last);
    for (const std::int64_t n : options_.at)
        if (n > tokens) refuse("at", n);
}

ATTENTA_INLINE void StateSnapshots::list(std::int64_t tokens) {
    std::vector<std::int64_t>& all = next_tokens_;
    const std::int64_t every = options_.every.value_or(tokens + 1), last = options_.last.value_or(0);
    all.clear();
    all.reserve(static_cast<std::size_t>(tokens / every + last) + options_.at.size());
    for (std::int64_t n = 1; n <= tokens / every; ++n) all.push_back(n * every);
    for (std::int64_t n = 0; n < last; ++n) all.push_back(tokens - n);
    all.insert(all.end(), options_.at.begin(), options_.at.end());
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
}

ATTENTA_INLINE std::int64_t StateSnapshots::prepare(std::int64_t tokens, const StateShape& shape) {
    list(tokens);
    const auto count = static_cast<std::int64_t>(next_tokens_.size());
    next_states_.reset();
    if (shape != states_.shape() || count > states_.slots() || options_.storage != states_.storage())
        next_states_.emplace(count, shape, options_.storage);
    return count;
}

ATTENTA_INLINE StatePool& StateSnapshots::begin() {
    if (next_states_) states_ = std::move(*next_states_);
    next_states_.reset();
    tokens_.swap(next_tokens_);
    return states_;
}

ATTENTA_END
