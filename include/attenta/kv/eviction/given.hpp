// Numbers that a caller gives to a policy, one per token and K/V head.
#pragma once

#include <attenta/core/error.hpp>
#include <attenta/kv/eviction/policy.hpp>

#include <string>

ATTENTA_BEGIN

namespace eviction {

/// Borrowed: x [Hkv, T, 1] for the T tokens that may come, in order of their positions. Those of later tokens may be written
/// until these are appended, and are any valid number before.
template <class T>
class Given {
public:
    Given(const char* policy, const char* name, Heads<const T> x) : policy_(policy), name_(name), x_(x) {}

    /// Throws Error unless all heads have numbers that are valid(x).
    template <class Valid>
    void check(const EvictionShape& shape, const char* needed, Valid&& valid) const {
        if (x_.heads != shape.kv_heads || x_.dim != 1 || x_.tokens < 1 || !x_.data)
            refuse("is [" + std::to_string(x_.heads) + ", " + std::to_string(x_.tokens) + ", " +
                   std::to_string(x_.dim) + "], needs one for each token of the " + std::to_string(shape.kv_heads) +
                   " heads");
        for (std::int64_t h = 0; h < x_.heads; ++h)
            for (std::int64_t t = 0; t < x_.tokens; ++t) {
                const T x = *x_.row(h, t);
                if (valid(x)) continue;
                refuse("is " + std::to_string(x) + " for token " + std::to_string(t) + " of head " + std::to_string(h) +
                       ", needs " + needed);
            }
    }
    /// Throws Error unless there are numbers for the first `seen` tokens.
    void expect(std::int64_t seen) const {
        if (seen > x_.tokens)
            refuse("ends at token " + std::to_string(x_.tokens) + ", needs one for token " + std::to_string(seen - 1));
    }
    /// Of the token in a slot. Throws Error where there are no numbers for it.
    T of(const HeldTokens& held, std::int64_t slot) const {
        const std::int64_t position = held.positions[static_cast<std::size_t>(slot)];
        if (position >= x_.tokens)
            refuse("ends at token " + std::to_string(x_.tokens) + ", needs one for token " + std::to_string(position));
        return *x_.row(held.head, position);
    }

private:
    [[noreturn]] void refuse(const std::string& why) const { fail(policy_, std::string(name_) + " " + why); }

    const char *policy_, *name_;
    Heads<const T> x_;
};

}  // namespace eviction

ATTENTA_END
