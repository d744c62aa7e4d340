// Arithmetic on the sizes, strides and positions of a caller, which tells when a result leaves 64 bits.
#pragma once

#include <attenta/core/config.hpp>

#include <cstdint>

ATTENTA_BEGIN

/// An integer that knows whether it is the true result. Once a sum, difference or product has left 64 bits, everything
/// that is made of it is invalid:
///     const CheckedInt n = CheckedInt(heads) * tokens * dim;
///     if (!n.valid()) fail(...);
class CheckedInt {
public:
    constexpr CheckedInt(std::int64_t n) : n_(n) {}

    constexpr bool valid() const { return valid_; }
    /// The result, where it is valid.
    constexpr std::int64_t value() const { return n_; }

    friend constexpr CheckedInt operator+(CheckedInt a, CheckedInt b) {
        std::int64_t n = 0;
        const bool left = __builtin_add_overflow(a.n_, b.n_, &n);
        return {n, a.valid_ && b.valid_ && !left};
    }
    friend constexpr CheckedInt operator-(CheckedInt a, CheckedInt b) {
        std::int64_t n = 0;
        const bool left = __builtin_sub_overflow(a.n_, b.n_, &n);
        return {n, a.valid_ && b.valid_ && !left};
    }
    friend constexpr CheckedInt operator*(CheckedInt a, CheckedInt b) {
        std::int64_t n = 0;
        const bool left = __builtin_mul_overflow(a.n_, b.n_, &n);
        return {n, a.valid_ && b.valid_ && !left};
    }

private:
    constexpr CheckedInt(std::int64_t n, bool valid) : n_(n), valid_(valid) {}

    std::int64_t n_;
    bool valid_ = true;
};

ATTENTA_END
