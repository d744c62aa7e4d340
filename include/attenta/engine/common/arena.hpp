// Sizes and the scratch of a task.
#pragma once

#include <attenta/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

inline constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

/// n / of, rounded up.
constexpr std::int64_t ceil_div(std::int64_t n, std::int64_t of) { return (n + of - 1) / of; }
constexpr std::int64_t round_up(std::int64_t n, std::int64_t to) { return ceil_div(n, to) * to; }

/// Carves arrays out of a slot's scratch; with null memory it only counts.
class Arena {
public:
    explicit Arena(std::byte* memory) : memory_(memory) {}
    template <class T>
    T* take(std::int64_t n) {
        const std::int64_t at = used_;
        used_ += round_up(n * static_cast<std::int64_t>(sizeof(T)), 64);
        return memory_ ? reinterpret_cast<T*>(memory_ + at) : nullptr;
    }
    std::int64_t used() const { return used_; }

private:
    std::byte* memory_;
    std::int64_t used_ = 0;
};

ATTENTA_END
